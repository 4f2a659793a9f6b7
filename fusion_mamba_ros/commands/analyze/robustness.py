# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba analyze robustness`: measure mAP of each mode while one camera gets worse step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fusion_mamba_ros.commands.engine_option import EngineOption
from fusion_mamba_ros.commands.failure import fail
from fusion_mamba_ros.commands.threads_option import ThreadsOption


def warn_of_left_out(wanted: list[str], measured: list[str]) -> None:
    """Print a warning that names the factors and pairs of factors that are not measured."""
    left_out = [name for name in wanted if name not in measured]
    if left_out:
        typer.echo(
            f"warning: not measured, because not every checkpoint uses the image that changes: {', '.join(left_out)}",
            err=True,
        )


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command("robustness")
    def robustness(
        checkpoint: Annotated[
            list[Path], typer.Argument(help="Checkpoints (.safetensors) or exported models (.onnx), side by side.")
        ],
        data: Annotated[list[Path], typer.Option(help="Dataset folder or YAML; give it again to join several.")],
        out: Annotated[Path, typer.Option(help="Folder of the cells, the tables and the plots.")],
        split: Annotated[str, typer.Option(help="train, val, test or all.")] = "val",
        limit: Annotated[
            int | None, typer.Option(min=1, help="Number of pairs, evenly spaced over the data; all if not given.")
        ] = None,
        only: Annotated[
            list[str] | None, typer.Option(help="Factor, for example darkness; give it again for several.")
        ] = None,
        combine: Annotated[
            list[str] | None, typer.Option(help="Two factors at once, for example darkness+misalignment.")
        ] = None,
        levels: Annotated[
            list[str] | None, typer.Option(help="Levels in place of a factor's own, for example darkness=2,4.")
        ] = None,
        seed: Annotated[int, typer.Option(min=0, help="Seed of directions, clouds and noise.")] = 0,
        samples: Annotated[int, typer.Option(min=100, help="Bootstrap samples of the intervals.")] = 1000,
        batch_size: Annotated[int, typer.Option(min=1, help="Pairs in one pass through the network.")] = 8,
        device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
        precision: Annotated[str, typer.Option(help="auto, fp32, fp16 or bf16.")] = "auto",
        engine: EngineOption = "auto",
        threads: ThreadsOption = 0,
    ) -> None:
        """Measure mAP of each mode against misalignment, darkness, haze, smoke, contrast, noise and missing images.

        The same command again resumes: complete cells are kept.

        Example: fusion-mamba analyze robustness best.safetensors --data datasets/msrs --out robustness/
        """
        from fusion_mamba_ros.analysis.checkpoint_labels import checkpoint_labels, content_digits
        from fusion_mamba_ros.analysis.robustness import ChosenPairs, RobustnessCells, keep_plan, study_modes
        from fusion_mamba_ros.analysis.robustness_plan import RobustnessPlan
        from fusion_mamba_ros.analysis.robustness_report import draw_robustness, write_robustness
        from fusion_mamba_ros.analysis.robustness_results import summarise
        from fusion_mamba_ros.commands.output_folder import make_output_folder
        from fusion_mamba_ros.commands.progress_bar import progress_bar
        from fusion_mamba_ros.datasets import PreparedDataset
        from fusion_mamba_ros.datasets.joined_dataset import open_datasets
        from fusion_mamba_ros.evaluation.detection_metrics import require_packages
        from fusion_mamba_ros.evaluation.evaluate import PROTOCOL
        from fusion_mamba_ros.perception.predictor import Predictor
        from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling

        try:
            require_packages()
            plan = RobustnessPlan.choose(only or (), combine or (), levels or ())
            labels = checkpoint_labels(checkpoint)
            predictors, scalings = {}, {}
            for label, path in labels.items():
                predictor = Predictor.from_checkpoint(
                    path, device, precision, engine=engine, threads=threads, thresholds=PROTOCOL, homography={}
                )
                study_modes(predictor.modalities)
                # The prepared pairs below have white-hot grey levels already.
                scalings[label], predictor.thermal_scaling = predictor.thermal_scaling, ThermalScaling()
                predictors[label] = predictor
            modalities = list(dict.fromkeys(name for item in predictors.values() for name in item.modalities))
            wanted = plan.names
            plan = plan.of_modalities(set.intersection(*(set(item.modalities) for item in predictors.values())))
            if not plan.factors:
                raise ValueError(
                    f"no chosen factor changes an image that all checkpoints use ({', '.join(modalities)})"
                )
            warn_of_left_out(wanted, plan.names)
            conditions = plan.conditions()
            make_output_folder(out)
            prepared: dict[object, ChosenPairs] = {}
            studies = {}
            for label, predictor in predictors.items():
                key = (predictor.class_names, scalings[label])
                if key not in prepared:
                    pairs = open_datasets(data, split, classes=predictor.class_names, validate_on_test=True)
                    dataset = PreparedDataset(
                        pairs, predictor.metadata.input_size, scaling=scalings[label], headroom=None
                    )
                    prepared[key] = ChosenPairs(dataset, modalities, limit)
                # A changed file, image or label leads to another folder, so that no old cell is taken for the new one.
                digits = f"{content_digits(labels[label])}-{prepared[key].content_digits}"
                folder = out / "cells" / f"{label}-{digits}"
                studies[label] = RobustnessCells(predictor, prepared[key], folder, seed=seed, batch_size=batch_size)
            chosen = next(iter(prepared.values()))
            facts = {"data": ", ".join(path.name for path in data), "split": split, "pairs": len(chosen), "seed": seed}
            keep_plan(out, {**facts, "names": list(chosen.names), "engine": engine, "precision": precision})
            total = len(conditions) * sum(len(cells.modes) for cells in studies.values())
            with progress_bar("cells") as show:
                done = 0

                def advance() -> None:
                    nonlocal done
                    done += 1
                    show(done, total)

                for cells in studies.values():
                    cells.run(conditions, advance)
            found = [summarise(label, cells, conditions, samples) for label, cells in studies.items()]
            written = write_robustness(plan, found, facts, out) + draw_robustness(plan, found, out)
        except KeyboardInterrupt:
            typer.echo("interrupted: the same command goes on", err=True)
            raise typer.Exit(130) from None
        except (ValueError, ImportError, OSError) as error:
            fail(error)
        for name, reason in chosen.skipped.items():
            typer.echo(f"skipped {name}: {reason}")
        typer.echo(f"written: {', '.join(map(str, written))}")
