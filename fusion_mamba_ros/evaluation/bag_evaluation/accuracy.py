# SPDX-License-Identifier: Apache-2.0
"""Compute the accuracy section of the report: overall, by mode and by time window."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.evaluation.bag_evaluation.frame_record import FrameRecord
from fusion_mamba_ros.evaluation.bag_evaluation.match_table import AveragePrecision, MatchTable, mean_of
from fusion_mamba_ros.evaluation.bag_evaluation.report_schema import (
    Accuracy,
    AccuracySection,
    ClassAccuracy,
    RecallAllFrames,
    Window,
)

HISTOGRAM_BINS = 20


def accuracy_section(
    records: Sequence[FrameRecord], evaluated: npt.NDArray[np.int64], table: MatchTable, *, window_sec: float
) -> AccuracySection:
    """Return the accuracy of the ``evaluated`` records (indices), which are the frames of ``table`` in this order."""
    chosen = [records[index] for index in evaluated.tolist()]
    everything = table.average_precision()
    modes = {}
    for mode in sorted({record.mode for record in chosen if record.mode is not None}):
        mask = np.array([record.mode == mode for record in chosen], bool)
        modes[mode] = accuracy([r for r in chosen if r.mode == mode], table, mask)
    curves = {name: item.curve for name, item in everything.items()}
    return {
        "overall": accuracy(chosen, table, None, everything),
        "modes": modes,
        "windows": _windows(records, chosen, table, window_sec),
        "recall_all_frames": recall_all_frames(records, table.class_names),
        "curves": {
            name: {"precision": curve.precision.round(5).tolist(), "scores": curve.scores.round(5).tolist()}
            for name, curve in curves.items()
            if curve is not None
        },
        "score_histograms": {
            name: {"correct": correct, "wrong": wrong}
            for name, (correct, wrong) in table.score_histogram(HISTOGRAM_BINS).items()
        },
    }


def accuracy(
    records: Sequence[FrameRecord],
    table: MatchTable,
    frames: npt.NDArray[np.bool_] | None,
    precisions: dict[str, AveragePrecision] | None = None,
) -> Accuracy:
    """Return the accuracy of ``records``, which are the chosen ``frames`` of ``table`` (a mask, None for all)."""
    precisions = table.average_precision(frames) if precisions is None else precisions
    counts = count_matches(records)
    per_class: dict[str, ClassAccuracy] = {}
    for name, item in precisions.items():
        hits, wrong, missed = (counts[kind].get(name, 0) for kind in range(3))
        per_class[name] = {
            "AP": item.ap,
            "AP50": item.ap50,
            "AP75": item.ap75,
            "boxes": item.boxes,
            "true_positives": hits,
            "false_positives": wrong,
            "false_negatives": missed,
            # Without a true box, false alarms alone would give a precision of 0.
            "precision": ratio(hits, hits + wrong) if item.boxes else None,
            "recall": ratio(hits, hits + missed),
        }
    hits, wrong, missed = (sum(counts[kind].values()) for kind in range(3))
    boxes = int(table.boxes(frames).sum())
    return {
        "frames": len(records),
        "boxes": boxes,
        "mAP": mean_of([item.ap for item in precisions.values()]),
        "mAP50": mean_of([item.ap50 for item in precisions.values()]),
        "mAP75": mean_of([item.ap75 for item in precisions.values()]),
        "precision": ratio(hits, hits + wrong) if boxes else None,
        "recall": ratio(hits, hits + missed),
        "true_positives": hits,
        "false_positives": wrong,
        "false_negatives": missed,
        "per_class": per_class,
    }


def recall_all_frames(
    records: Iterable[FrameRecord], class_names: Sequence[str], *, dropped: frozenset[int] = frozenset()
) -> RecallAllFrames:
    """Return the recall over all frames with ground truth.

    The true boxes of frames without output count as misses, and so do those of the records with an index in
    ``dropped``.
    """
    hits = dict.fromkeys(class_names, 0)
    boxes = dict.fromkeys(class_names, 0)
    frames = without_output = 0
    for record in records:
        if record.ground_truth_stamp_ns is None:
            continue
        frames += 1
        has_output = record.has_output and record.index not in dropped
        without_output += not has_output
        for name, count in (record.true_positives or {}).items():
            hits[name] += count if has_output else 0
            boxes[name] += count
        for name, count in (record.false_negatives or {}).items():
            boxes[name] += count
    return {
        "overall": ratio(sum(hits.values()), sum(boxes.values())),
        "per_class": {name: ratio(hits[name], boxes[name]) for name in class_names},
        "found": hits,
        "boxes": boxes,
        "frames": frames,
        "frames_without_output": without_output,
    }


def count_matches(records: Iterable[FrameRecord]) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """Return the true positives, false positives and false negatives of ``records`` by class."""
    totals: tuple[dict[str, int], dict[str, int], dict[str, int]] = ({}, {}, {})
    for record in records:
        parts = (record.true_positives, record.false_positives, record.false_negatives)
        for total, part in zip(totals, parts, strict=True):
            for name, count in (part or {}).items():
                total[name] = total.get(name, 0) + count
    return totals


def ratio(part: int, whole: int) -> float | None:
    """Return a share, None of nothing."""
    return part / whole if whole else None


def _windows(
    records: Sequence[FrameRecord], evaluated: Sequence[FrameRecord], table: MatchTable, window_sec: float
) -> list[Window]:
    if not records:
        return []
    start_ns, width_ns = records[0].stamp_ns, round(window_sec * 1e9)
    numbers = np.array([(record.stamp_ns - start_ns) // width_ns for record in records], np.int64)
    of_evaluated = np.array([(record.stamp_ns - start_ns) // width_ns for record in evaluated], np.int64)
    end_sec = (records[-1].stamp_ns - start_ns) * 1e-9
    windows: list[Window] = []
    # Only windows with frames: one stamp far away must not give millions of empty windows.
    for number in np.unique(numbers).tolist():
        inside = [records[index] for index in np.flatnonzero(numbers == number).tolist()]
        mask = of_evaluated == number
        recall = recall_all_frames(inside, table.class_names)
        windows.append(
            {
                "from_sec": round(number * window_sec, 6),
                "to_sec": round(min((number + 1) * window_sec, end_sec), 6),
                "accuracy": accuracy([evaluated[index] for index in np.flatnonzero(mask).tolist()], table, mask),
                "recall_all_frames": recall["overall"],
                "frames": recall["frames"],
                "frames_without_output": recall["frames_without_output"],
            }
        )
    return windows
