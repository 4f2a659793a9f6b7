# SPDX-License-Identifier: Apache-2.0
"""Write the measured cost of the fusion operators as JSON, Markdown tables and plots."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fusion_mamba_ros.perception.atomic_write import write_atomically

Row = dict[str, Any]
_COLUMNS = ("operator", "parameters", "GMAC", "scan share", "scan exponentials", "extra memory", "latency", "spread")


def write_complexity(rows: Sequence[Row], machine: dict[str, Any], out: Path) -> None:
    """Write `complexity.json` and `complexity.md` to the folder ``out``."""
    document = {"machine": machine, "rows": list(rows)}
    write_atomically(out / "complexity.json", f"{json.dumps(document, indent=1)}\n".encode())
    write_atomically(out / "complexity.md", markdown(rows, machine).encode())


def markdown(rows: Sequence[Row], machine: dict[str, Any]) -> str:
    """Return one table for each scale and image size, of the detectors and of their fusion modules alone."""
    lines = ["# Cost of the fusion operators", "", ", ".join(f"{name} {value}" for name, value in machine.items()), ""]
    lines += [
        "Batch 1, float32. GMAC: 10^9 multiply-adds; the scan counts (4 N + 2) for each pixel, channel and direction.",
        "Scan exponentials are counted separately. Latency: median; spread: fastest and slowest call.",
        "Extra memory: peak of one call beyond weights, inputs and result. A dash: not measured.",
    ]
    for scale, size, tokens in dict.fromkeys((row["scale"], row["size"], row["tokens"]) for row in rows):
        group = [row for row in rows if (row["scale"], row["size"]) == (scale, size)]
        for part, title in (("detector", "whole detector"), ("fusion", "fusion modules alone")):
            lines += ["", f"## Scale {scale}, {size} x {size}, {tokens} tokens of a stream: {title}", ""]
            lines += [f"| {' | '.join(_COLUMNS)} |", f"|{'---|' * len(_COLUMNS)}"]
            lines += [f"| {' | '.join(_cells(row['operator'], row[part]))} |" for row in group]
    return "\n".join(lines) + "\n"


def _cells(name: str, part: dict[str, Any]) -> list[str]:
    counts, seconds, extra = part["multiply_adds"], part["seconds"], part["extra_bytes"]
    latency, spread = "-", "-"
    if seconds:
        latency = f"{1e3 * statistics.median(seconds):.1f} ms"
        spread = f"{1e3 * min(seconds):.1f} to {1e3 * max(seconds):.1f} ms"
    share = f"{100 * counts['scan'] / counts['total']:.0f} %" if counts["scan"] else "-"
    return [
        name,
        f"{part['parameters']:,}",
        f"{counts['total'] / 1e9:.2f}",
        share,
        f"{counts['scan_exponentials'] / 1e9:.2f} G" if counts["scan_exponentials"] else "-",
        "-" if extra is None else f"{extra / 1e6:.0f} MB",
        latency,
        spread,
    ]


_PLOTS: tuple[tuple[str, str, Callable[[dict[str, Any]], float | None]], ...] = (
    ("multiply_adds", "10^9 multiply-adds", lambda part: part["multiply_adds"]["total"] / 1e9 or None),
    ("latency", "median latency in ms", lambda part: 1e3 * statistics.median(part["seconds"] or [0]) or None),
    ("memory", "extra memory in MB", lambda part: (part["extra_bytes"] or 0) / 1e6 or None),
)


def draw_complexity(rows: Sequence[Row], out: Path) -> list[Path]:
    """Write one figure for each quantity to ``out``: a panel for each scale, growth with the number of tokens.

    Upper panels show the whole detectors, lower panels the fusion modules alone; both axes are logarithmic.
    """
    from matplotlib.figure import Figure

    scales = list(dict.fromkeys(row["scale"] for row in rows))
    written = []
    for name, label, value in _PLOTS:
        figure = Figure(figsize=(3.6 * len(scales) + 1.6, 6.4), layout="constrained")
        panels = figure.subplots(2, len(scales), squeeze=False, sharex=True)
        for line, part in enumerate(("detector", "fusion")):
            for panel, scale in zip(panels[line], scales, strict=True):
                _draw_panel(panel, [row for row in rows if row["scale"] == scale], part, value)
                panel.set_title(f"scale {scale}, {part}")
            panels[line][0].set_ylabel(label)
        for panel in panels[1]:
            panel.set_xlabel("tokens of a stream")
        # An operator without a value in the upper panels may have one in the lower ones.
        handles = {
            text: line for panel in panels.flat for line, text in zip(*panel.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), loc="outside right upper")
        path = out / f"complexity_{name}.png"
        figure.savefig(path, dpi=110)
        written.append(path)
    return written


def _draw_panel(panel: Any, rows: Sequence[Row], part: str, value: Callable[[dict[str, Any]], float | None]) -> None:
    names = list(dict.fromkeys(row["operator"] for row in rows))
    for index, name in enumerate(names):
        points = [(row["tokens"], value(row[part])) for row in rows if row["operator"] == name]
        known = [(tokens, y) for tokens, y in points if y is not None]
        if known:
            panel.plot(*zip(*known, strict=True), marker="o", markersize=3, color=f"C{index % 10}", label=name)
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.grid(alpha=0.3)
