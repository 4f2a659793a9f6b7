# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba train`: train a detector on labelled pairs."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

import typer

from fusion_mamba_ros.commands.failure import fail, is_missing_torch
from fusion_mamba_ros.commands.threads_option import ThreadsOption


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command("train")
    def train(
        data: Annotated[Path, typer.Option(help="Dataset folder, or YAML file that joins several.")],
        out: Annotated[Path, typer.Option(help="Folder of the run: weights, state, figures, images.")],
        config: Annotated[
            str | None, typer.Option(help="Recipe: nano, finetune, paper, drone_thermal, or a YAML file.")
        ] = None,
        resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out exactly.")] = False,
        weights: Annotated[
            Path | None,
            typer.Option(
                help="Checkpoint to start from, validated as epoch 0. Canvas (input_size), model and thermal scaling "
                "are the recipe's, and a difference to the checkpoint is announced; the word checkpoint in the recipe, "
                "or --set input_size=checkpoint, takes the checkpoint's."
            ),
        ] = None,
        set_: Annotated[
            list[str] | None,
            typer.Option("--set", help="Change one field of the recipe: --set epochs=50 --set model.scale=s"),
        ] = None,
        train_split: Annotated[str | None, typer.Option(help="Split to train on (train).")] = None,
        val_split: Annotated[str | None, typer.Option(help="Split to validate on (val).")] = None,
        val_fraction: Annotated[
            float | None,
            typer.Option(
                help="Validate on this share of the training split instead, for example 0.1: of each folder and group "
                "the last pairs by name, which are not trained on."
            ),
        ] = None,
        accelerator: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
        threads: ThreadsOption = 0,
    ) -> None:
        r"""Train a detector. Ctrl-C saves the run; --resume continues it exactly.

        Example: fusion-mamba train --config nano --data datasets/mine --out runs/mine

        To start from other weights: --config finetune --weights CHECKPOINT uses the model, canvas and thermal scaling
        of the checkpoint.

        To train one stream alone, for comparison: add --set model.modalities=\[rgb]. To use several devices: torchrun
        --nproc-per-node 4 -m fusion_mamba_ros.cli train ...
        """
        try:
            from rich.console import Console

            from fusion_mamba_ros.perception.threads import set_threads
            from fusion_mamba_ros.training.recipe import Recipe, TrainingError, parse_assignments
            from fusion_mamba_ros.training.start_weights import fields_of_checkpoint
            from fusion_mamba_ros.training.train import Run
            from fusion_mamba_ros.training.train import train as run_training
            from fusion_mamba_ros.training.training_data import SplitChoice
        except ModuleNotFoundError as error:
            if is_missing_torch(error):
                fail(error)
            remedy = "pip install lightning-fabric tensorboard pycocotools matplotlib"
            typer.echo(f"error: training needs {error.name}: {remedy}", err=True)
            raise typer.Exit(2) from error
        set_threads(threads)
        try:
            if resume and (config is not None or set_ or weights is not None):
                raise TrainingError("--resume uses the run's own recipe: leave out --config, --set and --weights")
            if not resume and config is None:
                raise TrainingError(
                    "no recipe was given: pass --config nano, finetune, paper, drone_thermal or a YAML file"
                )
            recipe = Recipe()
            if config is not None:
                start = None if weights is None else fields_of_checkpoint(weights)
                with warnings.catch_warnings(record=True) as old_names:
                    warnings.simplefilter("always", DeprecationWarning)
                    recipe = Recipe.read(config, parse_assignments(set_ or []), start)
                for warning in old_names:
                    typer.echo(f"warning: {warning.message}", err=True)
            splits = SplitChoice(train_split, val_split, val_fraction)
            run = Run(recipe, data, out, splits, resume, weights, accelerator)
            # Disable markup, because paths and pair names may contain brackets.
            complete = run_training(run, Console(highlight=False, markup=False))
        except (ValueError, OSError, ImportError) as error:
            fail(error)
        raise typer.Exit(0 if complete else 130)
