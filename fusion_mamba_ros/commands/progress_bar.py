# SPDX-License-Identifier: Apache-2.0
"""Show the progress of a command on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar from the first step on, so that an error before it stands alone.

    Yield a function that takes the number of steps done and their total, 0 if unknown.
    """
    from rich.console import Console
    from rich.progress import Progress

    progress = Progress(console=Console(stderr=True))
    task = progress.add_task(title, total=None)

    def show(done: int, total: int) -> None:
        progress.start()
        progress.update(task, completed=done, total=total or None)

    try:
        yield show
    finally:
        # Stopping a bar that was never shown prints an empty line.
        if progress.live.is_started:
            progress.stop()
