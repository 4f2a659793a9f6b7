# SPDX-License-Identifier: Apache-2.0
"""Summarise the evaluations of many bags: each bag, each tag and all. Average precision uses pooled detections."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from fusion_mamba_ros.evaluation.bag_evaluation.accuracy import ratio
from fusion_mamba_ros.evaluation.bag_evaluation.bag_list import ListedBag
from fusion_mamba_ros.evaluation.bag_evaluation.evaluate_bag import MATCHES_FILE, REPORT_FILE
from fusion_mamba_ros.evaluation.bag_evaluation.match_table import MatchTable, mean_of

SUMMARY_NAME, SUMMARY_VERSION = "fusion_mamba_ros/bag-evaluation-summary", 1


class ClassSummary(TypedDict):
    """Figures of one class over several bags. Precision and recall are at the operating threshold."""

    AP: float | None
    AP50: float | None
    AP75: float | None
    boxes: int
    precision: float | None
    recall: float | None
    recall_all_frames: float | None


class GroupSummary(TypedDict):
    """Figures over several bags. ``gates`` counts the results of the gate."""

    bags: int
    expected: int
    with_output: int
    share_without_output: float | None
    longest_gap_sec: float | None
    frames: int
    mAP: float | None
    mAP50: float | None
    mAP75: float | None
    precision: float | None
    recall: float | None
    recall_all_frames: float | None
    per_class: dict[str, ClassSummary]
    gates: dict[str, int]


class BagSummary(TypedDict):
    """One bag: ``status`` is `evaluated` or `failed`. ``error`` is the reason of the failure, else None."""

    name: str
    path: str
    tags: list[str]
    status: str
    error: str | None
    problems: list[str]
    figures: GroupSummary | None


class Summary(TypedDict):
    """Content of `summary.json`."""

    schema: str
    version: int
    bags: list[BagSummary]
    tags: dict[str, GroupSummary]
    overall: GroupSummary


@dataclass(frozen=True, eq=False)
class EvaluatedBag:
    """The report and the matches of one bag."""

    report: dict[str, Any]
    table: MatchTable

    @classmethod
    def read(cls, folder: Path) -> EvaluatedBag:
        """Return what `eval-bag` wrote to ``folder``. Raises ``ValueError`` if the files are damaged."""
        try:
            report = json.loads((folder / REPORT_FILE).read_text(encoding="utf-8"))
            with np.load(folder / MATCHES_FILE, allow_pickle=False) as arrays:
                return cls(report, MatchTable.from_arrays(dict(arrays)))
        except Exception as error:  # a damaged archive can raise any exception
            raise ValueError(f"the result in '{folder}' cannot be read: {error}") from error


def summarise_bags(bags: Sequence[ListedBag], results: dict[str, EvaluatedBag], errors: dict[str, str]) -> Summary:
    """Return the summary of ``bags``: their ``results`` by name, or ``errors`` by name."""
    rows: list[BagSummary] = []
    for bag in bags:
        found = results.get(bag.name)
        rows.append(
            {
                "name": bag.name,
                "path": str(bag.path),
                "tags": list(bag.tags),
                "status": "failed" if found is None else "evaluated",
                "error": errors.get(bag.name) if found is None else None,
                "problems": [] if found is None else found.report["bag"]["problems"],
                "figures": None if found is None else _figures([found]),
            }
        )
    done = [bag for bag in bags if bag.name in results]
    tags = sorted({tag for bag in bags for tag in bag.tags})
    return {
        "schema": SUMMARY_NAME,
        "version": SUMMARY_VERSION,
        "bags": rows,
        "tags": {tag: _figures([results[bag.name] for bag in done if tag in bag.tags]) for tag in tags},
        "overall": _figures([results[bag.name] for bag in done]),
    }


def _figures(bags: Sequence[EvaluatedBag]) -> GroupSummary:
    table = MatchTable.pooled([bag.table for bag in bags])
    precisions = table.average_precision()
    outputs = [bag.report["output"] for bag in bags]
    expected, with_output = (sum(output[key] for output in outputs) for key in ("expected", "with_output"))
    gaps = [output["longest_gap_sec"] for output in outputs if output["longest_gap_sec"] is not None]
    sections = [bag.report["accuracy"] for bag in bags if bag.report["accuracy"] is not None]
    hits, wrong, missed = (
        _by_class([section["overall"]["per_class"] for section in sections], key)
        for key in ("true_positives", "false_positives", "false_negatives")
    )
    found, boxes = (_total([section["recall_all_frames"][key] for section in sections]) for key in ("found", "boxes"))
    per_class: dict[str, ClassSummary] = {}
    for name, item in precisions.items():
        right = hits.get(name, 0)
        per_class[name] = {
            "AP": item.ap,
            "AP50": item.ap50,
            "AP75": item.ap75,
            "boxes": item.boxes,
            "precision": ratio(right, right + wrong.get(name, 0)) if item.boxes else None,
            "recall": ratio(right, right + missed.get(name, 0)),
            "recall_all_frames": ratio(found.get(name, 0), boxes.get(name, 0)),
        }
    all_hits, all_boxes = sum(hits.values()), int(table.boxes().sum())
    gates = [bag.report["gate"]["result"] for bag in bags if bag.report["gate"] is not None]
    return {
        "bags": len(bags),
        "expected": expected,
        "with_output": with_output,
        "share_without_output": ratio(expected - with_output, expected),
        "longest_gap_sec": max(gaps, default=None),
        "frames": table.frames,
        "mAP": mean_of([item.ap for item in precisions.values()]),
        "mAP50": mean_of([item.ap50 for item in precisions.values()]),
        "mAP75": mean_of([item.ap75 for item in precisions.values()]),
        "precision": ratio(all_hits, all_hits + sum(wrong.values())) if all_boxes else None,
        "recall": ratio(all_hits, all_hits + sum(missed.values())),
        "recall_all_frames": ratio(sum(found.values()), sum(boxes.values())),
        "per_class": per_class,
        "gates": {result: gates.count(result) for result in sorted(set(gates))},
    }


def _by_class(sections: Sequence[dict[str, Any]], key: str) -> dict[str, int]:
    return _total([{name: item[key] for name, item in section.items()} for section in sections])


def _total(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in counts:
        for name, count in part.items():
            total[name] = total.get(name, 0) + count
    return total
