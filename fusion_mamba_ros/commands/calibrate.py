# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba calibrate`: calibrate the scores of a checkpoint and choose its score threshold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fusion_mamba_ros.commands.failure import fail
from fusion_mamba_ros.commands.threads_option import ThreadsOption
from fusion_mamba_ros.commands.tiles_option import TileOverlapOption, TilesOption, warn_without_tiles


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command("calibrate")
    def calibrate(
        checkpoint: Annotated[Path, typer.Argument(help="Checkpoint (.safetensors).")],
        data: Annotated[list[Path], typer.Option(help="Dataset folder or YAML; give it again to join several.")],
        out: Annotated[Path, typer.Option(help="Checkpoint to write: the same weights with the calibration.")],
        split: Annotated[str, typer.Option(help="Split to fit to; not one that was trained on.")] = "val",
        device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
        batch_size: Annotated[int, typer.Option(min=1, help="Pairs in one pass through the network.")] = 8,
        threads: ThreadsOption = 0,
        tiles: TilesOption = "",
        tile_overlap: TileOverlapOption = 0.2,
    ) -> None:
        """Fit a temperature for each class to labelled pairs, and store it with the score threshold of highest F1.

        The predictor applies both by default. The fit uses both cameras if the model has both.

        Example: fusion-mamba calibrate best.safetensors --data datasets/mine --out calibrated.safetensors
        """
        from dataclasses import replace

        from fusion_mamba_ros.datasets.joined_dataset import open_datasets
        from fusion_mamba_ros.datasets.unknown_classes import count_unknown_boxes
        from fusion_mamba_ros.evaluation.calibration_fitting import fit_calibration
        from fusion_mamba_ros.evaluation.evaluate import PROTOCOL, evaluate
        from fusion_mamba_ros.perception.checkpoint import is_half, load_checkpoint, save_checkpoint
        from fusion_mamba_ros.perception.predictor import Predictor
        from fusion_mamba_ros.perception.threads import set_threads
        from fusion_mamba_ros.perception.tiling import Tiling

        try:
            set_threads(threads)
            model, metadata = load_checkpoint(checkpoint)
            tiling = Tiling.parse(tiles, tile_overlap)
            predictor = Predictor.from_checkpoint(
                checkpoint, device, thresholds=PROTOCOL, calibrated=False, tiling=tiling
            )
            warn_without_tiles(metadata, tiles)
            dataset = open_datasets(data, split, classes=metadata.class_names)
            unknown = ", ".join(f"{name} {count}" for name, count in count_unknown_boxes(dataset).items())
            if unknown:
                typer.echo(
                    f"warning: boxes of classes that the checkpoint lacks are in no figure ({unknown})", err=True
                )
            mode = predictor.modes[0]
            found = evaluate(predictor.predict_batch, dataset, [mode], batch_size=batch_size, with_groups=False)
            calibration = fit_calibration(found.modes[mode].results)
            fitted = {"data": ", ".join(path.name for path in data), "split": split, **calibration.fitted}
            calibration = replace(calibration, fitted=fitted)
            save_checkpoint(out, model, replace(metadata, calibration=calibration), half=is_half(checkpoint))
        except (ValueError, ImportError, OSError) as error:
            fail(error)
        for name, skipped in found.skipped.items():
            typer.echo(f"skipped {name}: {skipped}")
        for name, temperature in zip(metadata.class_names, calibration.temperatures, strict=True):
            typer.echo(f"{name}: temperature {temperature:.2f}")
        before, after = (fitted[name] for name in ("expected_calibration_error_before", "expected_calibration_error"))
        typer.echo(f"expected calibration error on these pairs: {before:.3f} before, {after:.3f} after")
        typer.echo(f"score_threshold of highest F1 ({fitted['f1']:.3f}): {calibration.score_threshold:.3f}")
        typer.echo(f"written: {out}")
