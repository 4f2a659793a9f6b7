# SPDX-License-Identifier: Apache-2.0
"""Build the page of one bag from its report, the records of its frames and drawn frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fusion_mamba_ros import __version__
from fusion_mamba_ros.evaluation.bag_evaluation.frame_record import FrameRecord
from fusion_mamba_ros.evaluation.bag_evaluation.report_schema import Accuracy, AccuracySection, GateSection, Report
from fusion_mamba_ros.evaluation.bag_report.charts import Chart, Line, bar_chart, line_chart
from fusion_mamba_ros.evaluation.bag_report.frame_drawing import DrawnFrame
from fusion_mamba_ros.evaluation.bag_report.page import NOT_AVAILABLE, figure, render
from fusion_mamba_ros.evaluation.bag_report.timeline import latency_histogram, timeline_charts
from fusion_mamba_ros.evaluation.detection_metrics import RECALLS


def bag_page(
    name: str,
    report: Report,
    records: Sequence[FrameRecord],
    *,
    command: str,
    worst: Sequence[DrawnFrame] = (),
    thumbnails: Sequence[DrawnFrame] = (),
    comparison: Mapping[str, Any] | None = None,
    worse: Sequence[DrawnFrame] = (),
) -> bytes:
    """Return the page of one bag. ``command`` is the command line that made it.

    ``comparison`` is the section of a comparison with an earlier run, and ``worse`` the frames that got worse since.
    """
    accuracy = report["accuracy"]
    return render(
        "bag.html",
        {
            "title": f"Bag evaluation: {name}",
            "version": __version__,
            "command": command,
            "figures": _figures(report),
            "subject": _subject(report),
            "problems": report["bag"]["problems"],
            "gate": None if report["gate"] is None else _gate(report["gate"]),
            "comparison": comparison,
            "worse": [(frame_caption(frame), frame) for frame in worse],
            "accuracy": None if accuracy is None else _accuracy(accuracy),
            "latency_chart": latency_histogram(records),
            "timing": [
                [stage, part["count"], *(figure(part[key], 1) for key in ("mean", "p50", "p95", "max"))]
                for stage, part in report["timing_ms"].items()
            ],
            "live": _live(report),
            "timeline": timeline_charts(records),
            "thumbnails": thumbnails,
            "cameras": [[camera, *_texts(section.values())] for camera, section in report["cameras"].items()],
            "modes": [
                [mode, part["frames"], figure(part["share_of_frames"]), figure(part["share_of_time"])]
                for mode, part in report["modes"].items()
            ],
            "outcomes": [
                ["evaluated", report["outcomes"]["evaluated"]],
                *([f"skipped: {_words(reason)}", count] for reason, count in report["outcomes"]["skipped"].items()),
            ],
            "detections": list(report["detections"]["per_class"].items()),
            "worst": [(frame_caption(frame), frame) for frame in worst],
        },
    )


def frame_caption(frame: DrawnFrame, bag: str = "") -> str:
    """Return the caption of a worst frame as one line."""
    place = f"{bag}, " if bag else ""
    iou = "" if frame.worst_iou is None else f", lowest IoU {frame.worst_iou:.2f}"
    return (
        f"{place}{frame.seconds:.2f} s, {_words(frame.mode)}: {frame.misses} missed, "
        f"{frame.false_alarms} false alarms{iou} (stamp {frame.stamp_ns})"
    )


def latency_ms(report: Report, key: str) -> float | None:
    """Return the ``key`` (p50, p95) of the latency, or of the computing time of a detector that ran here."""
    timing = report["timing_ms"]
    for stage in ("latency", "predict"):
        value: float | None = timing[stage][key] if stage in timing else None  # type: ignore[literal-required]
        if value is not None:
            return value
    return None


def _figures(report: Report) -> list[tuple[str, str]]:
    output, accuracy = report["output"], report["accuracy"]
    tiles = [
        ("results with output", f"{output['with_output']} of {output['expected']}"),
        ("longest gap, s", figure(output["longest_gap_sec"])),
    ]
    if accuracy is not None:
        overall = accuracy["overall"]
        tiles += [
            ("mAP50", figure(overall["mAP50"])),
            ("mAP", figure(overall["mAP"])),
            ("recall over all frames", figure(accuracy["recall_all_frames"]["overall"])),
            ("misses", str(overall["false_negatives"])),
            ("false alarms", str(overall["false_positives"])),
        ]
    kind = "latency" if report["timing_ms"]["latency"]["count"] else "computing time"
    return [*tiles, (f"{kind} p95, ms", figure(latency_ms(report, "p95"), 1))]


def _subject(report: Report) -> list[tuple[str, str]]:
    subject, truth, bag = report["subject"], report["ground_truth"], report["bag"]
    rows = [("bag", bag["path"]), ("duration", f"{bag['duration_sec']:.3f} s")]
    if subject["kind"] == "recorded":
        rows.append(("recorded detections", str(subject["detections_topic"])))
    else:
        rows.append(("checkpoint", str(subject["checkpoint"])))
        rows.append(("engine, device, precision", f"{subject['engine']}, {subject['device']}, {subject['precision']}"))
        rows.append(("tiles", subject["tiles"] or "none"))
    rows.append(("operating threshold", f"{subject['score_threshold']:g}"))
    if truth is not None:
        rows.append(("protocol of mAP", subject["protocol"]))
        rows.append(
            (
                "ground truth",
                f"{truth['source']} ({truth['kind']}): {truth['frames']} frames, {truth['matched']} of them with a "
                f"camera frame within {truth['tolerance_ms']:g} ms, {truth['boxes']} boxes",
            )
        )
    return rows


def _gate(gate: GateSection) -> dict[str, Any]:
    rows = []
    for item in gate["criteria"]:
        result = "not available" if item["value"] is None else "passed" if item["passed"] else "failed"
        excess = "" if not item["excess"] else f"{item['excess']:.4g}"
        value = NOT_AVAILABLE if item["value"] is None else f"{item['value']:.4g}"
        rows.append([item["name"], f"{item['relation']} {item['limit']:g}", value, result, excess])
    return {"scenario": gate["scenario"], "result": gate["result"], "rows": rows}


def _accuracy(section: AccuracySection) -> dict[str, Any]:
    recall = section["recall_all_frames"]
    rows = []
    for mode, part in {"all": section["overall"], **section["modes"]}.items():
        rows += _accuracy_rows(_words(mode), part)
    recall_rows = [["all", sum(recall["boxes"].values()), sum(recall["found"].values()), figure(recall["overall"])]]
    recall_rows += [
        [name, recall["boxes"][name], recall["found"][name], figure(value)]
        for name, value in recall["per_class"].items()
    ]
    windows = [
        [
            f"{window['from_sec']:g} to {window['to_sec']:g}",
            window["frames"],
            window["accuracy"]["boxes"],
            *(figure(window["accuracy"][key]) for key in ("mAP", "mAP50", "precision", "recall")),
            figure(window["recall_all_frames"]),
            window["frames_without_output"],
        ]
        for window in section["windows"]
    ]
    return {
        "rows": rows,
        "recall_rows": recall_rows,
        "recall_note": f"Over all {recall['frames']} frames with ground truth. The true boxes of the "
        f"{recall['frames_without_output']} frames without output count as misses.",
        "windows": windows,
        "charts": _accuracy_charts(section),
    }


def _accuracy_rows(mode: str, part: Accuracy) -> list[list[Any]]:
    keys = ("precision", "recall")
    counts = ("true_positives", "false_positives", "false_negatives")
    rows = [
        [
            *(mode, "all", part["frames"], part["boxes"]),
            *(figure(part[key]) for key in ("mAP", "mAP50", "mAP75", *keys)),  # type: ignore[literal-required]
            *(part[key] for key in counts),  # type: ignore[literal-required]
        ]
    ]
    rows += [
        [
            *(mode, name, part["frames"], item["boxes"]),
            *(figure(item[key]) for key in ("AP", "AP50", "AP75", *keys)),  # type: ignore[literal-required]
            *(item[key] for key in counts),  # type: ignore[literal-required]
        ]
        for name, item in part["per_class"].items()
    ]
    return rows


def _accuracy_charts(section: AccuracySection) -> list[Chart]:
    charts = []
    if section["curves"]:
        lines = [
            Line(name, RECALLS.tolist(), curve["precision"], colour)
            for colour, (name, curve) in enumerate(section["curves"].items())
        ]
        charts.append(
            line_chart(
                "Precision and recall at IoU 0.5",
                lines,
                x_label="recall",
                y_label="precision",
                x_range=(0.0, 1.0),
                y_range=(0.0, 1.0),
            )
        )
    for name, histogram in section["score_histograms"].items():
        if not sum(histogram["correct"]) + sum(histogram["wrong"]):
            continue
        edges = np.linspace(0.0, 1.0, len(histogram["correct"]) + 1).tolist()
        groups = [("correct", histogram["correct"], 0), ("wrong", histogram["wrong"], 1)]
        charts.append(bar_chart(f"Scores of {name}", edges, groups, x_label="score", y_label="detections"))
    return charts


def _live(report: Report) -> list[list[Any]]:
    rows = []
    for live in report["live"]:
        recall = live["recall_all_frames"]
        rows.append(
            [
                f"{live['speed']:g}",
                live["results"],
                live["dropped"],
                figure(live["share_dropped"]),
                figure(live["latency_ms"]["p50"], 1),
                figure(live["latency_ms"]["p95"], 1),
                figure(live["longest_gap_sec"]),
                figure(None if recall is None else recall["overall"]),
            ]
        )
    return rows


def _texts(values: Any) -> list[str]:
    return [NOT_AVAILABLE if value is None else str(value) for value in values]


def _words(text: str) -> str:
    return text.replace("_", " ")
