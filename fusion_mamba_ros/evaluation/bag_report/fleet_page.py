# SPDX-License-Identifier: Apache-2.0
"""Build the page of many bags from their summary, their reports and their worst frames."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from fusion_mamba_ros import __version__
from fusion_mamba_ros.evaluation.bag_evaluation.evaluate_bag import REPORT_FILE
from fusion_mamba_ros.evaluation.bag_evaluation.report_schema import Report
from fusion_mamba_ros.evaluation.bag_evaluation.summary import GroupSummary, Summary
from fusion_mamba_ros.evaluation.bag_report.bag_page import frame_caption, latency_ms
from fusion_mamba_ros.evaluation.bag_report.charts import Chart, bar_chart
from fusion_mamba_ros.evaluation.bag_report.frame_drawing import CAPTIONS_FILE, WORST_FRAMES_FOLDER, DrawnFrame
from fusion_mamba_ros.evaluation.bag_report.page import PAGE_FILE, figure, render

_SHARES = ("mAP", "mAP50", "precision", "recall", "recall_all_frames", "share_without_output", "longest_gap_sec")
_BINS = 20
_CAPTION_FIELDS = {"file", *(field.name for field in fields(DrawnFrame) if field.name != "jpeg")}


def fleet_page(
    summary: Summary,
    out: Path,
    *,
    command: str,
    most_worst: int = 12,
    comparison: Mapping[str, Any] | None = None,
) -> bytes:
    """Return the page. Reports and worst frames are read from the folders of the bags in ``out``.

    ``comparison`` is the section of a comparison with an earlier run.
    """
    overall = summary["overall"]
    reports = {
        bag["name"]: json.loads((out / bag["name"] / REPORT_FILE).read_text(encoding="utf-8"))
        for bag in summary["bags"]
        if bag["figures"] is not None
    }
    failed = [bag["name"] for bag in summary["bags"] if bag["status"] == "failed"]
    rows = [_row(bag["name"], bag["tags"], bag["figures"], reports.get(bag["name"])) for bag in summary["bags"]]
    rows += [_row(f"tag {tag} ({part['bags']})", [], part, None) for tag, part in summary["tags"].items()]
    rows.append(_row(f"all ({overall['bags']})", [], overall, None))
    groups = {**{f"tag {tag}": part for tag, part in summary["tags"].items()}, "all": overall}
    gates = ", ".join(f"{count} {result.replace('_', ' ')}" for result, count in overall["gates"].items())
    return render(
        "fleet.html",
        {
            "title": f"Bag evaluation: {len(summary['bags'])} bags",
            "version": __version__,
            "command": command,
            "verdict": _verdict(overall["gates"], failed),
            "verdict_text": f"Scenario: {gates or 'none'}; {len(failed)} bags could not be evaluated",
            "figures": [
                ("bags", f"{overall['bags']} of {len(summary['bags'])}"),
                ("results with output", f"{overall['with_output']} of {overall['expected']}"),
                ("mAP50", figure(overall["mAP50"])),
                ("mAP", figure(overall["mAP"])),
                ("recall over all frames", figure(overall["recall_all_frames"])),
                ("longest gap, s", figure(overall["longest_gap_sec"])),
            ],
            "comparison": comparison,
            "bags": rows,
            "sentences": [
                (bag["name"], sentence)
                for bag in summary["bags"]
                for sentence in ([bag["error"]] if bag["error"] else bag["problems"])
            ],
            "classes": [
                [
                    *(group, name, item["boxes"]),
                    *(figure(item[key]) for key in ("AP", "AP50", "AP75", *_SHARES[2:5])),  # type: ignore[literal-required]
                ]
                for group, part in groups.items()
                for name, item in part["per_class"].items()
            ],
            "charts": _charts(summary, reports),
            "worst": _worst(summary, out, most_worst),
        },
    )


def _verdict(gates: Mapping[str, int], failed: list[str]) -> str:
    """Return the verdict as the exit code of the command tells it. Empty without a scenario and without an error."""
    if gates.get("failed"):
        return "failed"
    if gates.get("not_evaluated") or failed:
        return "not_evaluated"
    return "passed" if gates else ""


def _row(name: str, tags: list[str], figures: GroupSummary | None, report: Report | None) -> dict[str, Any]:
    if figures is None:
        return {"name": name, "tags": " ".join(tags), "link": "", "cells": ["could not be evaluated", *[""] * 10]}
    gates = ", ".join(f"{count} {gate.replace('_', ' ')}" for gate, count in figures["gates"].items())
    if report is not None and report["gate"] is not None:
        gates = report["gate"]["result"].replace("_", " ")
    times = [None, None] if report is None else [latency_ms(report, key) for key in ("p50", "p95")]
    return {
        "name": name,
        "tags": " ".join(tags),
        "link": "" if report is None else f"{_quoted(name)}/{PAGE_FILE}",
        "cells": [
            figures["frames"],
            *(figure(figures[key]) for key in _SHARES),  # type: ignore[literal-required]
            *("" if report is None else figure(value, 1) for value in times),
            gates,
        ],
    }


def _quoted(name: str) -> str:
    return quote(name, safe="", errors="surrogateescape")


def _charts(summary: Summary, reports: Mapping[str, Report]) -> list[Chart]:
    """Return how many bags have which latency, recall and share of missing output."""
    figures = [bag["figures"] for bag in summary["bags"] if bag["figures"] is not None]
    values = {
        "p95 of latency or computing time, ms": [latency_ms(item, "p95") for item in reports.values()],
        "Recall over all frames": [part["recall_all_frames"] for part in figures],
        "Share of results without output": [part["share_without_output"] for part in figures],
    }
    charts = []
    for colour, (title, numbers) in enumerate(values.items()):
        known = np.array([number for number in numbers if number is not None], np.float64)
        if not len(known):
            continue
        high = float(known.max()) or 1.0
        counts, edges = np.histogram(known, _BINS, (min(0.0, float(known.min())), high if "ms" in title else 1.0))
        charts.append(
            bar_chart(title, edges.tolist(), [("bags", counts.tolist(), colour)], x_label=title, y_label="bags")
        )
    return charts


def _worst(summary: Summary, out: Path, count: int) -> list[tuple[str, DrawnFrame]]:
    """Return the worst frames of all bags with their captions, worst first."""
    names = [bag["name"] for bag in summary["bags"] if bag["figures"] is not None]
    found = [(name, entry) for name in names for entry in _captions(out / name)]
    found.sort(key=lambda item: (item[1]["misses"] + item[1]["false_alarms"], item[1]["misses"]), reverse=True)
    shown = []
    for name, entry in found[:count]:
        file = out / name / WORST_FRAMES_FOLDER / Path(entry.pop("file")).name
        if not file.is_file():
            continue
        item = DrawnFrame(jpeg=file.read_bytes(), **entry)
        shown.append((frame_caption(item, name), item))
    return shown


def _captions(folder: Path) -> list[dict[str, Any]]:
    """Return the captions of one bag. An entry that another version wrote with other fields is left out."""
    try:
        content = json.loads((folder / CAPTIONS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    entries = content if isinstance(content, list) else []
    return [entry for entry in entries if isinstance(entry, dict) and entry.keys() == _CAPTION_FIELDS]
