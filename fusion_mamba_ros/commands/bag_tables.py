# SPDX-License-Identifier: Apache-2.0
"""Print the evaluation of a bag as tables."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fusion_mamba_ros.evaluation.bag_comparison.comparison import Comparison
from fusion_mamba_ros.evaluation.bag_comparison.comparison_files import comparison_sentence, figure_row
from fusion_mamba_ros.evaluation.bag_evaluation.report_schema import Accuracy, GateSection, Report
from fusion_mamba_ros.evaluation.bag_evaluation.summary import GroupSummary, Summary

_NOT_AVAILABLE = "n/a"


def print_evaluation(report: Report, console: Console) -> None:
    """Print the frames, the accuracy, the problems and the result of the gate."""
    output = report["output"]
    console.print(
        f"{output['with_output']} of {output['expected']} expected results "
        f"({shown(output['share_without_output'])} without output), longest gap {shown(output['longest_gap_sec'])} s, "
        f"{report['detections']['total']} detections, {report['outcomes']['evaluated']} frames evaluated"
    )
    section = report["accuracy"]
    if section is not None:
        table = Table("mode", "class", "frames", "boxes", "mAP", "mAP50", "mAP75", "precision", "recall")
        for mode, part in {"all": section["overall"], **section["modes"]}.items():
            _add_accuracy(table, mode, part)
        console.print(table)
        recall = section["recall_all_frames"]
        console.print(
            f"recall over all {recall['frames']} frames with ground truth: {shown(recall['overall'])} "
            f"({recall['frames_without_output']} of them without output)"
        )
    for live in report["live"]:
        console.print(
            f"a live node at {live['speed']:g} times the recorded rate drops {live['dropped']} of {live['results']} "
            f"results, latency p95 {shown(live['latency_ms']['p95'])} ms"
        )
    for problem in report["bag"]["problems"]:
        console.print(f"problem: {escape(problem)}", highlight=False, soft_wrap=True)
    if report["gate"] is not None:
        _print_gate(report["gate"], console)


def shown(value: float | None) -> str:
    """Return a figure as text, `n/a` if there is none."""
    return _NOT_AVAILABLE if value is None else f"{value:.3f}"


def _add_accuracy(table: Table, mode: str, part: Accuracy) -> None:
    rows = [("all", part["boxes"], part["mAP"], part["mAP50"], part["mAP75"], part["precision"], part["recall"])]
    rows += [
        (name, item["boxes"], item["AP"], item["AP50"], item["AP75"], item["precision"], item["recall"])
        for name, item in part["per_class"].items()
    ]
    for name, boxes, *figures in rows:
        table.add_row(mode, escape(name), str(part["frames"]), str(boxes), *map(shown, figures))


def _print_gate(gate: GateSection, console: Console) -> None:
    table = Table("criterion", "limit", "value", "result", "off by")
    for item in gate["criteria"]:
        result = "not available" if item["value"] is None else "passed" if item["passed"] else "FAILED"
        excess = "" if not item["excess"] else f"{item['excess']:.4g}"
        value = _NOT_AVAILABLE if item["value"] is None else f"{item['value']:.4g}"
        table.add_row(escape(item["name"]), f"{item['relation']} {item['limit']:g}", value, result, excess)
    console.print(table)
    console.print(f"scenario {escape(gate['scenario'])}: {gate['result'].replace('_', ' ')}")


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print the figures of both runs, the differences with their intervals, and the verdict."""
    table = Table("figure", "earlier", "now", "difference", "from", "to", "verdict")
    for item in comparison["figures"]:
        table.add_row(*map(escape, figure_row(item)))
    console.print(table)
    console.print(escape(comparison_sentence(comparison)), soft_wrap=True)
    console.print(f"comparison: {comparison['verdict']}")


def print_summary(summary: Summary, console: Console) -> None:
    """Print the figures of each bag, each tag and all bags, and the errors and problems of the bags."""
    table = Table("bags", "frames", "mAP", "mAP50", "recall", "recall all", "without output", "gate")
    for bag in summary["bags"]:
        if bag["figures"] is None:
            table.add_row(escape(bag["name"]), "failed")
        else:
            _add_group(table, bag["name"], bag["figures"])
    for tag, figures in summary["tags"].items():
        _add_group(table, f"tag {tag} ({figures['bags']})", figures)
    _add_group(table, f"all ({summary['overall']['bags']})", summary["overall"])
    console.print(table)
    for bag in summary["bags"]:
        for sentence in [bag["error"]] if bag["error"] else bag["problems"]:
            console.print(f"{escape(bag['name'])}: {escape(sentence)}", highlight=False, soft_wrap=True)


def _add_group(table: Table, name: str, figures: GroupSummary) -> None:
    shares = ("mAP", "mAP50", "recall", "recall_all_frames", "share_without_output")
    gates = ", ".join(f"{count} {result.replace('_', ' ')}" for result, count in figures["gates"].items())
    table.add_row(escape(name), str(figures["frames"]), *(shown(figures[key]) for key in shares), gates)  # type: ignore[literal-required]
