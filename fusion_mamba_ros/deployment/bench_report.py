# SPDX-License-Identifier: Apache-2.0
"""Write the measured speed of detectors as JSON and as a Markdown table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fusion_mamba_ros.perception.atomic_write import write_atomically

_COLUMNS = (
    *("model", "engine", "canvas", "threads", "p50 ms", "p95 ms", "p99 ms", "images/s"),
    *("preprocess, network, postprocess ms", "network ratio", "memory MB", "start s"),
)
_LEFT = 3  # columns of text


def write_bench(rows: Sequence[dict[str, Any]], machine: dict[str, Any], notes: Sequence[str], out: Path) -> None:
    """Write `bench.json` and `bench.md` to the folder ``out``."""
    document = {"machine": machine, "notes": list(notes), "rows": list(rows)}
    write_atomically(out / "bench.json", f"{json.dumps(document, indent=1)}\n".encode())
    write_atomically(out / "bench.md", markdown(rows, machine, notes).encode())


def markdown(rows: Sequence[dict[str, Any]], machine: dict[str, Any], notes: Sequence[str]) -> str:
    """Return the description of the machine, the table and how to read it."""
    lines = [", ".join(f"{name} {value}" for name, value in machine.items()), ""]
    lines += [f"| {' | '.join(_COLUMNS)} |", f"|{'---|' * _LEFT}{'---:|' * (len(_COLUMNS) - _LEFT)}"]
    lines += [f"| {' | '.join(_cells(row))} |" for row in rows]
    counts = " or ".join(str(count) for count in sorted({row["predictions"] for row in rows}))
    lines += [
        "",
        f"Predictions of one pair after the other, {counts} for each row; the models of one canvas and number of",
        "threads take turns. Stages: medians. Network ratio: median time of the network stage, relative to the first",
        "model of the same canvas and threads. Memory: resident in the process, at the peak. Start: from the start of",
        "a fresh process to its first detections, with the files in the page cache.",
    ]
    if any(row["weights"] == "random" for row in rows):
        lines += [
            "*Random weights*: a model of the same scale and architecture, built for this table. It finds next to no",
            "objects, so that its postprocessing is no measure of that of a trained model.",
        ]
    return "\n".join([*lines, *(f"\nNote: {note}." for note in notes)]) + "\n"


def _cells(row: dict[str, Any]) -> list[str]:
    latency, stages = row["latency_ms"], row["stages_ms"]
    width, height = row["canvas"]
    peak = row["memory_mb"].get("peak")
    return [
        row["model"] + (" (*random weights*)" if row["weights"] == "random" else ""),
        f"{row['engine']} {row['version']}, {row['precision']}, {row['device']}",
        f"{width}x{height}",
        str(row["threads"] or "default"),
        *(f"{latency[name]:.1f}" for name in ("p50", "p95", "p99")),
        f"{row['per_second']:.1f}",
        ", ".join(f"{stages[name]:.1f}" for name in ("preprocess", "network", "postprocess")),
        f"{row['network_ratio']:.2f}",
        "-" if peak is None else f"{peak:.0f}",
        f"{row['start_s']:.1f}",
    ]
