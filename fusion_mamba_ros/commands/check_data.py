# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba check-data`: count the content of a paired dataset and list its problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fusion_mamba_ros.commands.failure import fail

if TYPE_CHECKING:
    from fusion_mamba_ros.datasets.paired_dataset import PairedDataset
    from fusion_mamba_ros.datasets.problems import Problem

_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command("check-data")
    def check_data(
        data: Annotated[Path, typer.Argument(help="Dataset folder, or YAML file that joins several.")],
        split: Annotated[str, typer.Option(help="train, val, test or all.")] = "all",
        out: Annotated[
            Path | None, typer.Option(help="Folder for problems.txt and drawn samples (not written without it).")
        ] = None,
        samples: Annotated[int, typer.Option(min=0, help="How many samples to draw, spread over the split.")] = 12,
        strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if there is any problem.")] = False,
    ) -> None:
        """Read every pair of a dataset, count its images and boxes, and list its problems by name.

        Example: fusion-mamba check-data datasets/LLVIP --split train --out check/
        """
        from rich.console import Console
        from rich.progress import Progress

        from fusion_mamba_ros.commands.output_folder import make_output_folder
        from fusion_mamba_ros.datasets.check_dataset import check_dataset
        from fusion_mamba_ros.datasets.open_dataset import open_dataset, unlisted_problems
        from fusion_mamba_ros.datasets.problems import count_problems

        try:
            dataset = open_dataset(data, split, validate_on_test=True)
            unlisted = unlisted_problems(data)
            if out is not None:
                make_output_folder(out / "samples")
        except (ValueError, OSError) as error:
            fail(error)
        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task("reading pairs", total=len(dataset))
            check = check_dataset(dataset, on_progress=lambda count: progress.update(task, completed=count))

        check.problems += unlisted

        typer.echo(f"{data}, split {split}: {check.pairs} pairs, {check.empty_pairs} of them without boxes")
        typer.echo("images: " + _images(check.modalities, check.pairs))
        typer.echo("boxes:  " + ", ".join(f"{name} {count}" for name, count in check.boxes.items()))
        typer.echo("groups: " + ", ".join(f"{name} {count}" for name, count in sorted(check.groups.items())))
        for text, count in check.sizes.most_common(5):
            typer.echo(f"size:   {text}: {count}")
        if len(check.sizes) > 5:
            typer.echo(f"        and {len(check.sizes) - 5} other sizes")
        counts = count_problems(check.problems)
        typer.echo("problems: " + (", ".join(f"{n} {kind}" for kind, n in counts.items()) or "none"))
        for problem in check.problems[:_SHOWN]:
            typer.echo(f"  {problem}")
        if len(check.problems) > _SHOWN:
            rest = f"  and {len(check.problems) - _SHOWN} more"
            typer.echo(rest + (f": see {out / 'problems.txt'}" if out else ": --out FOLDER writes them all"))
        if out is not None:
            try:
                _write(dataset, check.problems, out, samples)
            except OSError as error:
                fail(error)
            typer.echo(f"written: {out / 'problems.txt'}, {out / 'samples'}/")
        if strict and check.problems:
            raise typer.Exit(1)


def _images(counts: Counter[str], pairs: int) -> str:
    """Return the number of images of each known modality as text. A modality without images is listed as "no NAME"."""
    from fusion_mamba_ros.perception.modality import known_modalities, modality_named

    texts = []
    for name in known_modalities():
        title, count = modality_named(name).title, counts[name]
        texts.append(f"{title} {count}" if count else f"no {title}")
        if 0 < count < pairs:
            texts[-1] += f" ({pairs - count} without)"
    return ", ".join(texts)


def _write(dataset: PairedDataset, problems: Sequence[Problem], out: Path, samples: int) -> None:
    import numpy as np

    from fusion_mamba_ros.datasets.problems import UnreadableImageError
    from fusion_mamba_ros.datasets.sample_drawing import draw_sample
    from fusion_mamba_ros.perception.atomic_write import write_atomically
    from fusion_mamba_ros.perception.image_writer import write_image

    text = "".join(f"{problem}\n" for problem in problems)
    write_atomically(out / "problems.txt", text.encode("utf-8", "surrogateescape"))
    for index in np.unique(np.linspace(0, len(dataset) - 1, min(samples, len(dataset))).astype(int)):
        try:
            image = draw_sample(dataset[int(index)], dataset.class_names)
        except UnreadableImageError:
            continue
        name = dataset.names[int(index)].replace("/", "_")
        write_image(out / "samples" / f"{name}.jpg", image)
