# SPDX-License-Identifier: Apache-2.0
"""Write the correlation between the modalities as JSON, a Markdown table and heat maps."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_mamba_ros.analysis.correlation import ALL, MEASURES, StageCorrelation
from fusion_mamba_ros.perception.atomic_write import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLEAR_ERRORS = 3.0
_TITLES = {"cka": "Linear CKA", "channel": "Mean correlation of equal channels"}
_COLUMNS = ("level", "stage", "positions", "real", "shuffled", "difference in standard errors", "untrained")


def write_correlation(found: Sequence[StageCorrelation], facts: dict[str, Any], out: Path) -> None:
    """Write `correlation.json`, `correlation.md` and a heat map for each measure to the folder ``out``."""
    document = {"facts": facts, "stages": [item.to_dict() for item in found]}
    write_atomically(out / "correlation.json", f"{json.dumps(document, indent=1)}\n".encode())
    write_atomically(out / "correlation.md", _markdown(found, facts).encode())
    for measure in MEASURES:
        heat_map([item for item in found if item.measure == measure and item.label == ALL]).savefig(
            out / f"correlation_{measure}.png", dpi=110
        )


def verdict(found: Sequence[StageCorrelation]) -> str:
    """Return one sentence: at how many stages real pairs differ clearly from shuffled ones, by CKA."""
    stages = [item for item in found if item.measure == "cka" and item.label == ALL]
    clear = sum(item.standard_errors > CLEAR_ERRORS for item in stages)
    return (
        f"CKA of real pairs is more than {CLEAR_ERRORS:g} standard errors above that of shuffled pairs at {clear} of "
        f"{len(stages)} stages."
    )


def _markdown(found: Sequence[StageCorrelation], facts: dict[str, Any]) -> str:
    lines = ["# Correlation between the modalities", "", ", ".join(f"{name} {v}" for name, v in facts.items()), ""]
    lines += [verdict(found)]
    for measure, title in _TITLES.items():
        for label in dict.fromkeys(item.label for item in found):
            lines += ["", f"## {title}, {'all positions' if label == ALL else f'inside boxes of {label}'}", ""]
            lines += [f"| {' | '.join(_COLUMNS)} |", f"|{'---|' * len(_COLUMNS)}"]
            for item in found:
                if (item.measure, item.label) == (measure, label):
                    numbers = (item.real, item.shuffled, item.standard_errors, item.untrained)
                    cells = [f"P{item.level}", item.stage, str(item.positions), *map(_text, numbers)]
                    lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _text(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def heat_map(found: Sequence[StageCorrelation]) -> Figure:
    """Return a heat map of levels and stages for real pairs, shuffled pairs and untrained weights."""
    import numpy as np
    from matplotlib.figure import Figure

    levels = sorted({item.level for item in found})
    stages = list(dict.fromkeys(item.stage for item in found))
    figure = Figure(figsize=(3 * (1.2 + 0.6 * len(stages)), 2.2 + 0.4 * len(levels)), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    for panel, name in zip(panels, ("real", "shuffled", "untrained"), strict=True):
        grid = np.full((len(levels), len(stages)), np.nan)
        for item in found:
            grid[levels.index(item.level), stages.index(item.stage)] = getattr(item, name)
        shown = panel.imshow(grid, vmin=0, vmax=1, cmap="viridis", aspect="auto")
        for row, column in np.ndindex(grid.shape):
            colour = "k" if grid[row, column] > 0.6 else "w"
            panel.text(column, row, _text(float(grid[row, column])), ha="center", va="center", fontsize=7, color=colour)
        panel.set_title({"real": "real pairs", "shuffled": "shuffled pairs", "untrained": "untrained"}[name])
        panel.set_xticks(range(len(stages)), stages, rotation=45, ha="right", fontsize=8)
        panel.set_yticks(range(len(levels)), [f"P{level}" for level in levels])
    figure.colorbar(shown, ax=panels, shrink=0.8)
    return figure
