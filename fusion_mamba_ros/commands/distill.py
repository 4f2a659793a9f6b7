# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba distill`: make start weights from unlabelled images and a pretrained backbone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fusion_mamba_ros.commands.failure import fail
from fusion_mamba_ros.commands.threads_option import ThreadsOption


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command("distill")
    def distill(
        context: typer.Context,
        out: Annotated[Path, typer.Option(help="Folder of the run: start weights, state, losses.")],
        teacher: Annotated[Path | None, typer.Option(help="Checkpoint that import-weights wrote.")] = None,
        images: Annotated[Path | None, typer.Option(help="YAML list of image folders and videos per modality.")] = None,
        config: Annotated[str, typer.Option(help="Recipe whose model and input size are used.")] = "nano",
        set_: Annotated[
            list[str] | None, typer.Option("--set", help="Change one field of the recipe: --set model.scale=s")
        ] = None,
        steps: Annotated[int, typer.Option(help="Optimizer steps.")] = 5000,
        batch_size: Annotated[int, typer.Option(help="Images of each modality in a step.")] = 16,
        learning_rate: Annotated[float, typer.Option(help="Peak learning rate of the cosine schedule.")] = 0.002,
        resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out.")] = False,
        threads: ThreadsOption = 0,
    ) -> None:
        """Teach each stream the features of a pretrained backbone. Use the result with `train --weights`.

        Example: fusion-mamba distill --teacher lite0.safetensors --images images.yaml --out runs/distill

        Ctrl-C saves the run. fusion-mamba distill --out runs/distill --resume continues it.
        """
        from rich.console import Console

        from fusion_mamba_ros.perception.threads import set_threads
        from fusion_mamba_ros.training.distill import DistillationRun, resume_distillation
        from fusion_mamba_ros.training.distill import distill as run_distillation
        from fusion_mamba_ros.training.distillation import DistillationSettings
        from fusion_mamba_ros.training.recipe import Recipe, TrainingError, parse_assignments

        set_threads(threads)
        console = Console(highlight=False, markup=False)
        try:
            if resume:
                if teacher is not None or images is not None:
                    raise TrainingError("--resume uses the run's own inputs: leave out --teacher and --images")
                names = ("config", "set_", "steps", "batch_size", "learning_rate")
                given = [name for name in names if str(context.get_parameter_source(name)).endswith("COMMANDLINE")]
                if given:
                    option = given[0].rstrip("_").replace("_", "-")
                    raise TrainingError(f"--resume uses the run's own settings: leave out --{option}")
                complete = resume_distillation(out, console)
            else:
                if teacher is None or images is None:
                    raise TrainingError("a new run needs --teacher and --images; --resume continues an old one")
                recipe = Recipe.read(config, parse_assignments(set_ or []))
                settings = DistillationSettings(
                    steps,
                    batch_size,
                    recipe.input_size,
                    learning_rate,
                    precision="bf16" if recipe.precision == "bf16" else "fp32",
                    seed=recipe.seed,
                )
                complete = run_distillation(DistillationRun(recipe, settings, teacher, images, out), console)
        except (ValueError, OSError) as error:
            fail(error)
        raise typer.Exit(0 if complete else 130)
