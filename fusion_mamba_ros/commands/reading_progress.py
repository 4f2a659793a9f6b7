# SPDX-License-Identifier: Apache-2.0
"""A progress bar for reading a bag, on stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


@dataclass(frozen=True)
class ReadingProgress:
    """The bar: its total and what is done."""

    _progress: Progress
    _task: TaskID

    def set_total(self, total: int) -> None:
        """Set the number of messages."""
        self._progress.update(self._task, total=total)

    def set_done(self, done: int) -> None:
        """Set the number of messages read."""
        self._progress.update(self._task, completed=done)


@contextmanager
def reading_progress(title: str) -> Iterator[ReadingProgress]:
    """Show a bar with the remaining time until the context ends."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield ReadingProgress(progress, progress.add_task(title, total=None))
