# SPDX-License-Identifier: Apache-2.0
"""Write a comparison as JSON and Markdown, and prepare it for the HTML page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fusion_mamba_ros.evaluation.bag_comparison.comparison import ChangedFrame, ComparedFigure, Comparison

COMPARISON_FILE, MARKDOWN_FILE = "comparison.json", "comparison.md"
_MOST_FRAMES = 20
_FIGURES = ("figure", "earlier", "now", "difference", "from", "to", "verdict")
_FRAMES = ("frame", "misses earlier", "misses now", "false alarms earlier", "false alarms now")


def comparison_files(comparison: Comparison) -> dict[str, bytes]:
    """Return `comparison.json` and `comparison.md`."""
    return {
        COMPARISON_FILE: (json.dumps(comparison, indent=1) + "\n").encode(),
        MARKDOWN_FILE: comparison_markdown(comparison).encode("utf-8", "replace"),
    }


def remove_old_comparison(folder: Path) -> None:
    """Delete the files of an earlier comparison in ``folder``."""
    for name in (COMPARISON_FILE, MARKDOWN_FILE):
        (folder / name).unlink(missing_ok=True)


def comparison_sentence(comparison: Comparison) -> str:
    """Return what was compared and what changed, in one sentence."""
    left_out = comparison["left_out"]
    lone = f"; only one of the runs has evaluated {', '.join(left_out)}" if left_out else ""
    return (
        f"{comparison['frames']} frames with ground truth, {comparison['evaluated_in_both']} of them evaluated in both "
        f"runs: {len(comparison['worse'])} got worse, {len(comparison['better'])} got better{lone}."
    )


def comparison_markdown(comparison: Comparison) -> str:
    """Return the comparison as Markdown. Names are escaped."""
    lines = [
        f"# Comparison: {comparison['verdict']}",
        "",
        _escaped(comparison_sentence(comparison)),
        "",
        f"Earlier run: {_escaped(comparison['other'])}. Intervals: paired bootstrap over frames, "
        f"{comparison['samples']} samples, {100 * comparison['confidence']:g} %.",
        "",
        *_table(_FIGURES, [figure_row(item) for item in comparison["figures"]]),
    ]
    for title, frames in (("worse", comparison["worse"]), ("better", comparison["better"])):
        lines += ["", f"## Frames that got {title}: {len(frames)}", ""]
        if frames:
            lines += _table(_FRAMES, [frame_row(item) for item in frames[:_MOST_FRAMES]])
    return "\n".join(lines) + "\n"


def page_section(comparison: Comparison) -> dict[str, Any]:
    """Return the section of the HTML page."""
    return {
        "verdict": comparison["verdict"],
        "sentence": comparison_sentence(comparison),
        "other": comparison["other"],
        "samples": comparison["samples"],
        "confidence": comparison["confidence"],
        "header": _FIGURES,
        "rows": [figure_row(item) for item in comparison["figures"]],
        "frame_header": _FRAMES,
        "changed": [
            {
                "title": f"Frames that got {title}",
                "total": len(frames),
                "rows": [frame_row(item) for item in frames[:_MOST_FRAMES]],
            }
            for title, frames in (("worse", comparison["worse"]), ("better", comparison["better"]))
        ],
    }


def figure_row(item: ComparedFigure) -> list[str]:
    """Return a figure as texts: its name, both values, the difference with its bounds, and the verdict."""
    values = (item["earlier"], item["now"])
    changes = (item["difference"], item["low"], item["high"])
    return [
        item["name"],
        *("n/a" if value is None else f"{value:.4f}" for value in values),
        *("n/a" if value is None else f"{value:+.4f}" for value in changes),
        item["verdict"] if item["difference"] is not None else "n/a",
    ]


def frame_row(frame: ChangedFrame) -> list[str]:
    """Return a changed frame as texts: its bag and stamp, misses and false alarms of both runs."""
    outputs = frame["has_output"]
    note = "" if outputs[0] == outputs[1] else ", without output now" if outputs[0] else ", without output earlier"
    name = f"{frame['bag']}: " if frame["bag"] else ""
    return [f"{name}{frame['ground_truth_stamp_ns']}{note}", *map(str, (*frame["misses"], *frame["false_alarms"]))]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(_escaped(cell) if cell != "---" else cell for cell in line) + " |" for line in lines]


def _escaped(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    marks = "\\`*_{}[]<>#|!&"
    return " ".join("".join(f"\\{mark}" if mark in marks else mark for mark in text).split())
