# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba analyze modality`: measure the contribution of each modality to the detections."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fusion_mamba_ros.commands.analyze.robustness import warn_of_left_out
from fusion_mamba_ros.commands.engine_option import EngineOption
from fusion_mamba_ros.commands.failure import fail
from fusion_mamba_ros.commands.threads_option import ThreadsOption


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command("modality")
    def modality(
        checkpoint: Annotated[Path, typer.Argument(help="Checkpoint (.safetensors) or exported model (.onnx).")],
        data: Annotated[list[Path], typer.Option(help="Dataset folder or YAML; give it again to join several.")],
        out: Annotated[Path, typer.Option(help="Folder of the tables, the plot and the overlays.")],
        split: Annotated[str, typer.Option(help="train, val, test or all.")] = "val",
        limit: Annotated[
            int | None, typer.Option(min=1, help="Number of pairs, evenly spaced over the data; all if not given.")
        ] = None,
        degrade: Annotated[
            list[str] | None, typer.Option(help="Also measure at each level of this factor, for example darkness.")
        ] = None,
        levels: Annotated[
            list[str] | None, typer.Option(help="Levels in place of a factor's own, for example darkness=2,4.")
        ] = None,
        draw: Annotated[int, typer.Option(min=0, help="Overlays to draw, of pairs evenly spaced over the chosen.")] = 8,
        seed: Annotated[int, typer.Option(min=0, help="Seed of the degradations and of the bootstrap.")] = 0,
        samples: Annotated[int, typer.Option(min=100, help="Bootstrap samples of the intervals.")] = 1000,
        device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
        precision: Annotated[str, typer.Option(help="auto, fp32, fp16 or bf16.")] = "auto",
        engine: EngineOption = "auto",
        threads: ThreadsOption = 0,
    ) -> None:
        """Measure the contribution of each modality per detection and per frame, by occlusion and by the gates.

        Example: fusion-mamba analyze modality best.safetensors --data datasets/msrs --degrade darkness --out modality/
        """
        from fusion_mamba_ros.analysis.modality import ContributionStudy
        from fusion_mamba_ros.analysis.modality_figures import ModalityFigures
        from fusion_mamba_ros.analysis.modality_report import write_modality
        from fusion_mamba_ros.analysis.robustness import ChosenPairs
        from fusion_mamba_ros.analysis.robustness_plan import RobustnessPlan
        from fusion_mamba_ros.commands.output_folder import make_output_folder
        from fusion_mamba_ros.commands.progress_bar import progress_bar
        from fusion_mamba_ros.datasets import PreparedDataset
        from fusion_mamba_ros.datasets.joined_dataset import open_datasets
        from fusion_mamba_ros.perception.predictor import Predictor
        from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling

        try:
            if levels and not degrade:
                raise ValueError("--levels belongs to --degrade: name the factor with --degrade, too")
            predictor = Predictor.from_checkpoint(
                checkpoint, device, precision, engine=engine, threads=threads, homography={}
            )
            # The prepared pairs below have white-hot grey levels already.
            scaling, predictor.thermal_scaling = predictor.thermal_scaling, ThermalScaling()
            plan = RobustnessPlan.choose(degrade, levels=levels or ()) if degrade else RobustnessPlan(())
            wanted = plan.names
            plan = plan.of_modalities(predictor.modalities)
            warn_of_left_out(wanted, plan.names)
            pairs = open_datasets(data, split, classes=predictor.class_names, validate_on_test=True)
            dataset = PreparedDataset(pairs, predictor.metadata.input_size, scaling=scaling, headroom=None)
            chosen = ChosenPairs(dataset, predictor.modalities, limit)
            make_output_folder(out)
            study = ContributionStudy(predictor, chosen, seed)
            conditions = plan.conditions()
            with progress_bar("pairs") as show:
                done = 0

                def advance() -> None:
                    nonlocal done
                    done += 1
                    show(done, len(conditions) * len(chosen))

                study.run(conditions, advance)
            facts = {"checkpoint": checkpoint.name, "data": ", ".join(path.name for path in data), "split": split}
            facts |= {"pairs": str(len(chosen)), "seed": str(seed)}
            figures = ModalityFigures(study, samples, seed)
            sentences, written = write_modality(figures, plan.factors, facts, out)
            if draw:
                written.append(_draw(study, draw, out / "overlays"))
        except (ValueError, ImportError, OSError) as error:
            fail(error)
        for sentence in [*([study.no_gates] if study.no_gates else []), *sentences]:
            typer.echo(sentence)
        for name, reason in chosen.skipped.items():
            typer.echo(f"skipped {name}: {reason}")
        typer.echo(f"written: {', '.join(map(str, written))}")


def _draw(study: Any, count: int, folder: Path) -> Path:
    """Draw the contributions of up to ``count`` clean pairs into ``folder`` and return it."""
    from fusion_mamba_ros.analysis.contribution_overlay import draw_contributions
    from fusion_mamba_ros.perception.image_writer import encode_image

    count = min(count, len(study.pairs))
    folder.mkdir(parents=True, exist_ok=True)
    for number in (index * len(study.pairs) // count for index in range(count)):
        frame = study.frames["clean"][number]
        drawn = draw_contributions(study.pairs[number].images, frame, study.class_names, study.modalities)
        name = frame.name.replace("/", "_")
        (folder / f"{name}.jpg").write_bytes(encode_image(drawn, ".jpg", jpeg_quality=90))
    return folder
