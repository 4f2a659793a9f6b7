# SPDX-License-Identifier: Apache-2.0
"""Progress output of a training run: a line per epoch, progress bars with the remaining time, TensorBoard events."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fusion_mamba_ros.training.event_file import EventFile, tag_of

# Without a terminal for progress bars, a line about the current epoch is printed at this interval.
_LINE_INTERVAL_S = 60.0


class Logger:
    """Context that shows progress on ``console`` and writes TensorBoard events to the folder ``events``.

    ``first_epoch``: number of epochs that are already complete. ``clock``: function that returns a time in seconds.
    """

    def __init__(
        self,
        console: Console,
        events: Path,
        epochs: int,
        first_epoch: int,
        *,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.console, self.epochs = console, epochs
        # The step of an event is the number of complete epochs; step 0 belongs to the start weights.
        self.events = EventFile.create_in(events, first_epoch + 1 if first_epoch else 0)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[losses]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self.run = self.progress.add_task("epochs", total=epochs, completed=first_epoch, losses="")
        self.epoch = self.progress.add_task("batches", total=None, losses="")
        self._clock = clock
        self._started = self._last_line = clock()
        self._first_position: float | None = None

    def __enter__(self) -> Logger:
        self.progress.start()
        self._started = self._last_line = self._clock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def batch(self, epoch: int, done: int, of: int, losses: dict[str, float]) -> None:
        """Update the progress bar of the epoch; without a terminal, print a line at intervals."""
        if self._first_position is None:
            # Measure the pace from the first batch, because the time before it is not spent on training.
            self._first_position, self._started = epoch + done / of, self._clock()
        text = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
        self.progress.update(self.epoch, total=of, completed=done, losses=text, description=f"epoch {epoch + 1}")
        if not self.console.is_terminal and self._clock() - self._last_line >= _LINE_INTERVAL_S:
            self._print(f"epoch {epoch + 1}/{self.epochs}  batch {done}/{of}  {text}", epoch + done / of)

    def epoch_done(self, history: Sequence[dict[str, float]], is_best: bool) -> None:
        """Print and log the last row of the history."""
        row = history[-1]
        number = int(row["epoch"])
        self.events.add({tag_of(name): value for name, value in row.items() if name != "epoch"}, number)
        parts = [f"epoch {number}/{self.epochs}" if number else "start weights"]
        losses = [value for name, value in row.items() if name.startswith("train_")]
        parts += [f"loss {sum(losses):.3f}"] if losses else []
        parts += [f"{name} {value:.3f}" for name, value in row.items() if name.endswith("mAP50")]
        parts += [f"{row['epoch_seconds']:.1f} s"] + (["best so far"] if is_best else [])
        self._print("  ".join(parts), number)
        self.progress.update(self.run, completed=number)

    def _print(self, text: str, position: float) -> None:
        """Print a line with the estimated remaining time of the run.

        The estimate assumes the pace so far. ``position``: progress of the run in epochs.
        """
        self._last_line = self._clock()
        done = position - (position if self._first_position is None else self._first_position)
        if done > 0 and position < self.epochs:
            left = (self._last_line - self._started) / done * (self.epochs - position)
            text += f"  about {format_duration(left)} left"
        self.console.print(text, highlight=False, soft_wrap=True)


def format_duration(seconds: float) -> str:
    """Return a duration in its two largest units: `2 h 05 min`, `3 min 20 s`, `12 s`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"
