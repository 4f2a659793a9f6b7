# SPDX-License-Identifier: Apache-2.0
"""A progress bar for many bags, on stderr, with a line for each bag that fails or runs again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fusion_mamba_ros.evaluation.bag_evaluation.bag_list import ListedBag
from fusion_mamba_ros.evaluation.bag_evaluation.evaluate_bags import FleetEvents


@contextmanager
def fleet_progress(total: int) -> Iterator[FleetEvents]:
    """Show a bar over ``total`` bags until the context ends. Yield the callbacks that move it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("evaluating bags", total=total)

        def say(bag: ListedBag, sentence: str) -> None:
            progress.console.print(f"{escape(bag.name)}: {escape(sentence)}", highlight=False)

        def ended(bag: ListedBag, error: str | None) -> None:
            progress.advance(task)
            if error is not None:
                say(bag, error)

        yield FleetEvents(
            on_skipped=lambda bag: progress.advance(task),
            on_ended=ended,
            on_retry=lambda bag, error: say(bag, f"{error}: it runs again"),
        )
