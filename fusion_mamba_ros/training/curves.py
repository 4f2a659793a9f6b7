# SPDX-License-Identifier: Apache-2.0
"""The curves of a run as one image."""

from __future__ import annotations

import io
from collections.abc import Sequence

_PANELS = ("box", "distribution", "classes", "mAP50", "mAP", "learning_rate")


def draw_curves(history: Sequence[dict[str, float]]) -> bytes:
    """Return a PNG with the losses, the mAP and the learning rate over the epochs."""
    # pyplot is not used because it keeps global state and may need a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 3).flat
    for panel, name in zip(panels, _PANELS, strict=True):
        for column in dict.fromkeys(key for row in history for key in row):
            if column == name or column.endswith(f"_{name}"):
                points = [(row["epoch"], row[column]) for row in history if column in row]
                panel.plot(*zip(*points, strict=True), label=column, marker="." if len(points) < 60 else None)
        panel.set_title(name)
        panel.set_xlabel("epoch")
        panel.grid(alpha=0.3)
        if panel.lines:
            panel.legend(fontsize=8)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=100)
    return image.getvalue()
