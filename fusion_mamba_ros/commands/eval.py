# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba eval`: compute the COCO metrics of a checkpoint on labelled pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fusion_mamba_ros.commands.engine_option import EngineOption
from fusion_mamba_ros.commands.failure import fail
from fusion_mamba_ros.commands.threads_option import ThreadsOption
from fusion_mamba_ros.commands.tiles_option import TileOverlapOption, TilesOption, warn_without_tiles

if TYPE_CHECKING:
    from fusion_mamba_ros.perception.mode import Mode


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command("eval")
    def evaluate_checkpoint(
        checkpoint: Annotated[Path, typer.Option(help="Checkpoint (.safetensors) or exported model (.onnx).")],
        data: Annotated[list[Path], typer.Option(help="Dataset folder or YAML; give it again to join several.")],
        out: Annotated[Path, typer.Option(help="Folder for metrics.json, report.html, detections, worst frames.")],
        split: Annotated[str, typer.Option(help="train, val, test or all.")] = "val",
        mode: Annotated[
            list[str] | None,
            typer.Option(help="fused, rgb_only, thermal_only, ...; all that model and data can do if not given."),
        ] = None,
        device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
        precision: Annotated[str, typer.Option(help="auto, fp32, fp16 or bf16.")] = "auto",
        engine: EngineOption = "auto",
        batch_size: Annotated[int, typer.Option(min=1, help="Pairs in one pass through the network.")] = 8,
        calibrated: Annotated[
            bool, typer.Option(help="Apply the checkpoint's calibration to the scores, if it has one.")
        ] = True,
        worst: Annotated[int, typer.Option(min=0, help="Worst frames to draw for each mode.")] = 12,
        strict: Annotated[
            bool, typer.Option("--strict", help="Refuse data with problems instead of skipping.")
        ] = False,
        threads: ThreadsOption = 0,
        tiles: TilesOption = "",
        tile_overlap: TileOverlapOption = 0.2,
    ) -> None:
        """Measure a checkpoint on labelled pairs, in each mode and group.

        Example: fusion-mamba eval --checkpoint best.safetensors --data datasets/msrs --split val --out eval/
        """
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.table import Table

        from fusion_mamba_ros.commands.output_folder import make_output_folder
        from fusion_mamba_ros.datasets.joined_dataset import open_datasets
        from fusion_mamba_ros.datasets.unknown_classes import count_unknown_boxes
        from fusion_mamba_ros.evaluation.evaluate import PROTOCOL, evaluate
        from fusion_mamba_ros.evaluation.evaluation_report import summary_lines, unknown_boxes_sentence, write_report
        from fusion_mamba_ros.perception.detections import Mode
        from fusion_mamba_ros.perception.predictor import Predictor
        from fusion_mamba_ros.perception.tiling import Tiling

        try:
            predictor = Predictor.from_checkpoint(
                checkpoint,
                device,
                precision,
                engine=engine,
                threads=threads,
                thresholds=PROTOCOL,
                calibrated=calibrated,
                tiling=Tiling.parse(tiles, tile_overlap),
            )
            warn_without_tiles(predictor.metadata, tiles)
            modes = _modes(mode, predictor.modes, Mode)
            # The user of an evaluation names the split explicitly, so a test split is allowed.
            dataset = open_datasets(
                data, split, classes=predictor.class_names, validate_on_test=True, refuse_problems=strict
            )
            make_output_folder(out)
            columns = (TextColumn("evaluating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            with Progress(*columns, console=Console(stderr=True)) as progress:
                task = progress.add_task("evaluating", total=len(dataset))
                evaluation = evaluate(
                    predictor.predict_batch,
                    dataset,
                    modes,
                    modalities=predictor.modalities,
                    batch_size=batch_size,
                    refuse_unreadable=strict,
                    on_progress=lambda done: progress.update(task, completed=done),
                    unknown_boxes=count_unknown_boxes(dataset),
                )
            subject = {
                "checkpoint": str(checkpoint),
                "data": ", ".join(map(str, data)),
                "split": split,
                "device": predictor.device,
                "engine": predictor.engine.name,
                "precision": predictor.engine.precision,
                "calibrated_scores": predictor.calibration is not None,
                "tiles": f"{tiles}, overlap {tile_overlap:g}" if tiles else "none",
            }
            page = write_report(evaluation, dataset, out, subject=subject, worst_count=worst)
        except (ValueError, ImportError, OSError) as error:
            fail(error)
        table = Table("mode", "mAP", "mAP50", "mAP75", "small", "medium", "large", "mAR", "ECE")
        for row in summary_lines(evaluation):
            table.add_row(*row)
        Console().print(table)
        if evaluation.unknown_boxes:
            typer.echo(f"warning: {unknown_boxes_sentence(evaluation)}")
        for name, reason in evaluation.skipped.items():
            typer.echo(f"skipped {name}: {reason}")
        typer.echo(f"written: {page} and {out / 'metrics.json'}")


def _modes(asked: list[str] | None, possible: Sequence[Mode], mode_type: type[Mode]) -> list[Mode]:
    """Return the modes to evaluate. Raises ``ValueError`` if the model does not support one of the ``asked`` modes."""
    names = [mode.value for mode in possible]
    wrong = [name for name in asked or () if name not in names]
    if wrong:
        raise ValueError(f"mode {', '.join(wrong)}: this checkpoint works in {', '.join(names)}")
    return [mode_type(name) for name in asked] if asked else list(possible)
