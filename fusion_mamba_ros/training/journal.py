# SPDX-License-Identifier: Apache-2.0
"""What a run tells while it runs: a line for each epoch, a progress bar, TensorBoard, curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter


class Journal:
    """Context that shows progress on ``console`` and writes TensorBoard events to ``events``."""

    def __init__(self, console: Console, events: Path, epochs: int, first_epoch: int):
        self.console, self.epochs = console, epochs
        self.writer = SummaryWriter(str(events), purge_step=first_epoch)
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

    def __enter__(self) -> Journal:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()
        self.writer.close()

    def batch(self, epoch: int, done: int, of: int, losses: dict[str, float]) -> None:
        """Move the bar of the epoch."""
        text = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
        self.progress.update(self.epoch, total=of, completed=done, losses=text, description=f"epoch {epoch + 1}")

    def epoch_done(self, history: Sequence[dict[str, float]], is_best: bool) -> None:
        """Print and log the last row of the history."""
        row = history[-1]
        for name, value in row.items():
            if name != "epoch":
                self.writer.add_scalar(name.replace("_", "/", 1), value, int(row["epoch"]))
        self.writer.flush()
        train = sum(row[f"train_{name}"] for name in ("box", "distribution", "classes"))
        parts = [f"epoch {int(row['epoch'])}/{self.epochs}", f"loss {train:.3f}"]
        parts += [f"{name} {value:.3f}" for name, value in row.items() if name.endswith("mAP50")]
        parts += [f"{row['epoch_seconds']:.1f} s"] + (["best so far"] if is_best else [])
        self.console.print("  ".join(parts), highlight=False, soft_wrap=True)
        self.progress.update(self.run, completed=int(row["epoch"]))


def draw_curves(history: Sequence[dict[str, float]], path: Path) -> None:
    """Write losses, mAP and learning rate over the epochs as one PNG."""
    # Not pyplot: it keeps global state and may look for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 3).flat
    for panel, name in zip(panels, ("box", "distribution", "classes", "mAP50", "mAP", "learning_rate"), strict=True):
        for column in dict.fromkeys(key for row in history for key in row):
            if column == name or column.endswith(f"_{name}"):
                points = [(row["epoch"], row[column]) for row in history if column in row]
                panel.plot(*zip(*points, strict=True), label=column, marker="." if len(points) < 60 else None)
        panel.set_title(name)
        panel.set_xlabel("epoch")
        panel.grid(alpha=0.3)
        if panel.lines:
            panel.legend(fontsize=8)
    figure.savefig(path, dpi=100)
