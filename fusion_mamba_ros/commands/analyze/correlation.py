# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba analyze correlation`: measure how alike the features of the modalities are inside the fusion."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fusion_mamba_ros.commands.failure import fail
from fusion_mamba_ros.commands.threads_option import ThreadsOption


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command("correlation")
    def correlation(
        checkpoint: Annotated[Path, typer.Option(help="Checkpoint (.safetensors) that fuses by fusion_mamba.")],
        data: Annotated[list[Path], typer.Option(help="Dataset folder or YAML; give it again to join several.")],
        out: Annotated[Path, typer.Option(help="Folder for correlation.json, correlation.md and the heat maps.")],
        split: Annotated[str, typer.Option(help="train, val, test or all.")] = "val",
        seed: Annotated[int, typer.Option(help="Seed of the shuffled pairs and of the untrained weights.")] = 0,
        device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
        threads: ThreadsOption = 0,
    ) -> None:
        """Measure linear CKA and channel correlation of RGB and thermal features at each stage of the fusion.

        Controls: shuffled pairs, and the same model with random weights.

        Example: fusion-mamba analyze correlation --checkpoint best.safetensors --data datasets/msrs --out correlation/
        """
        from rich.console import Console
        from rich.progress import Progress

        from fusion_mamba_ros.analysis.correlation import measure_correlation
        from fusion_mamba_ros.analysis.correlation_report import verdict, write_correlation
        from fusion_mamba_ros.commands.output_folder import make_output_folder
        from fusion_mamba_ros.datasets import PreparedDataset
        from fusion_mamba_ros.datasets.joined_dataset import open_datasets
        from fusion_mamba_ros.perception.checkpoint import load_checkpoint
        from fusion_mamba_ros.perception.compute import choose_device
        from fusion_mamba_ros.perception.threads import set_threads

        try:
            set_threads(threads)
            model, metadata = load_checkpoint(checkpoint)
            pairs = open_datasets(data, split, classes=metadata.class_names, validate_on_test=True)
            dataset = PreparedDataset(pairs, metadata.input_size, scaling=metadata.thermal)
            with Progress(console=Console(stderr=True)) as progress:
                task = progress.add_task("correlating", total=3 * len(dataset))
                found = measure_correlation(
                    model.to(choose_device(device)),
                    dataset,
                    metadata.input_size,
                    seed=seed,
                    on_progress=lambda: progress.advance(task),
                )
            make_output_folder(out)
            facts = {"checkpoint": checkpoint.name, "pairs": len(dataset), "split": split, "seed": seed}
            write_correlation(found, facts, out)
        except (ValueError, ImportError, OSError) as error:
            fail(error)
        typer.echo(verdict(found))
        typer.echo(f"written: {out / 'correlation.md'} and {out / 'correlation.json'}")
