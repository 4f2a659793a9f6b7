# SPDX-License-Identifier: Apache-2.0
"""Draw the figures of a robustness study: curves against the level, and grids of two factors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fusion_mamba_ros.analysis.degradations import Factor
from fusion_mamba_ros.analysis.robustness_plan import pair_levels
from fusion_mamba_ros.analysis.robustness_results import CheckpointFigures
from fusion_mamba_ros.perception.mode import Mode

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 4
_LINES = ("-", "--", ":", "-.")


def curves_figure(factors: Sequence[Factor], found: Sequence[CheckpointFigures]) -> Figure:
    """Return a panel for each factor: mAP50 of each mode and checkpoint against the level.

    The shaded area is the interval of the fused mode. The dotted horizontal line is half of its clean mAP50.
    """
    from matplotlib.figure import Figure

    columns = min(_COLUMNS, max(1, len(factors)))
    rows = max(1, -(-len(factors) // columns))
    figure = Figure(figsize=(3.6 * columns, 2.9 * rows + 0.6), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
    handles = {}
    for panel, factor in zip(panels, factors, strict=False):
        for number, figures in enumerate(found):
            curve = figures.curve(factor)
            levels = [level for level, _ in curve]
            for index, mode in enumerate(curve[0][1].cells):
                values = [item.cells[mode].map50 for _, item in curve]
                style = {"linestyle": _LINES[number % len(_LINES)], "color": f"C{index}", "markersize": 3}
                (line,) = panel.plot(levels, [100 * value.value for value in values], marker="o", **style)
                name = mode.value if len(found) == 1 else f"{figures.label}, {mode.value}"
                handles[name] = line
                if mode is Mode.FUSED:
                    bounds = ([100 * value.low for value in values], [100 * value.high for value in values])
                    panel.fill_between(levels, *bounds, color=f"C{index}", alpha=0.12, linewidth=0)
                    panel.axhline(50 * values[0].value, color="0.5", linestyle=":", linewidth=0.8)
        panel.set_title(factor.name)
        panel.set_xlabel(factor.unit)
        panel.grid(alpha=0.3)
    for panel in panels[len(factors) :]:
        panel.set_visible(False)
    # The panels share the axis. Set its end last: a fixed axis no longer grows with the values.
    panels[0].set_ylim(bottom=0)
    figure.supylabel("mAP50 in percent")
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return figure


def pair_figure(first: Factor, second: Factor, found: Sequence[CheckpointFigures]) -> Figure:
    """Return two heat maps for each checkpoint: mAP50 of the fused mode, and its margin over the better single mode."""
    from matplotlib.figure import Figure

    rows, columns = pair_levels(first), pair_levels(second)
    figure = Figure(figsize=(8.5, 3.4 * len(found)), layout="constrained")
    panels = figure.subplots(len(found), 2, squeeze=False)
    for line, figures in zip(panels, found, strict=True):
        items = [[figures.at((first, row), (second, column)) for column in columns] for row in rows]
        fused = np.array([[100 * item.cells[Mode.FUSED].map50.value for item in row] for row in items])
        margin = np.array([[100 * item.margin.value for item in row] for row in items])
        limit = max(5.0, float(np.abs(margin).max()))
        shown = (
            (fused, "mAP50 of the fused mode", "viridis", 0, None),
            (margin, "minus better single", "RdBu", -limit, limit),
        )
        for panel, (values, title, colours, low, high) in zip(line, shown, strict=True):
            image = panel.imshow(values, cmap=colours, vmin=low, vmax=high, aspect="auto")
            for row, column in np.ndindex(values.shape):
                panel.text(
                    column,
                    row,
                    f"{values[row, column]:.1f}",
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="0.1",
                    bbox={"facecolor": "w", "alpha": 0.6, "linewidth": 0, "pad": 1},
                )
            panel.set_title(f"{figures.label}: {title}", fontsize=9)
            panel.set_xticks(range(len(columns)), [f"{level:g}" for level in columns])
            panel.set_yticks(range(len(rows)), [f"{level:g}" for level in rows])
            panel.set_xlabel(f"{second.name} ({second.unit})")
            panel.set_ylabel(f"{first.name} ({first.unit})")
            figure.colorbar(image, ax=panel, shrink=0.8)
    return figure
