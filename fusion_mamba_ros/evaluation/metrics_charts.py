# SPDX-License-Identifier: Apache-2.0
"""Draw precision-recall curves and confusion matrices as matplotlib figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.evaluation.detection_metrics import RECALLS, ClassMetrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Palette of Okabe and Ito, in an order that is legible on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def precision_recall_chart(title: str, per_class: dict[str, ClassMetrics]) -> Figure:
    """Return a figure of the precision-recall curves at IoU 0.5, one curve for each class that occurs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2, 3.6))
    axes = figure.subplots()
    drawn = [(name, item) for name, item in per_class.items() if item.curve is not None]
    for index, (name, item) in enumerate(drawn):
        assert item.curve is not None  # filtered above
        axes.plot(
            RECALLS, item.curve.precision, color=COLOURS[index % len(COLOURS)], lw=1.8, label=f"{name}  {item.ap50:.3f}"
        )
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision", title=title)
    axes.grid(color="#e3e7eb", lw=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    if drawn:
        axes.legend(title="AP50", frameon=False, loc="lower left", fontsize=9)
    return figure


def confusion_chart(title: str, counts: npt.NDArray[np.int64], class_names: Sequence[str]) -> Figure:
    """Return a figure of the confusion matrix (classes + 1, classes + 1), coloured by the share of each true class."""
    from matplotlib.figure import Figure

    names = [*class_names, "nothing"]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # The last row counts false alarms, which have no true class: scale it by the largest count instead.
    shares[-1] = counts[-1] / max(1, counts.max())
    side = 1.3 + 0.62 * len(names)
    figure = Figure(figsize=(side + 0.4, side))
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(names)):
        for column in range(len(names)):
            if row == column == len(names) - 1:
                continue
            colour = "white" if shares[row, column] > 0.55 else "#1b1f24"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=10)
    axes.set_xticks(range(len(names)), names, rotation=35, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="detected", ylabel="true", title=title)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure
