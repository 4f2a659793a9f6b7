# SPDX-License-Identifier: Apache-2.0
"""Compare the collected frames of a bag with ground truth, and fill in their records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.evaluation.bag_evaluation.collected_frame import (
    CollectedBag,
    CollectedFrame,
    counts_by_class,
    skipped_without_truth,
)
from fusion_mamba_ros.evaluation.bag_evaluation.frame_record import FrameRecord, Outcome, SkipReason
from fusion_mamba_ros.evaluation.bag_evaluation.ground_truth import GroundTruth, assign_ground_truth
from fusion_mamba_ros.evaluation.bag_evaluation.match_table import MatchTable
from fusion_mamba_ros.evaluation.bag_evaluation.scored_frame import ScoredFrame
from fusion_mamba_ros.evaluation.box_matching import intersection_over_union, match_image
from fusion_mamba_ros.evaluation.detection_results import ImageResult
from fusion_mamba_ros.perception.detections import Detections

# Tolerance without two RGB frames to measure a period: a quarter of 30 Hz.
_FALLBACK_TOLERANCE_NS = 1e9 / 30 / 4


@dataclass(frozen=True, eq=False)
class ScoredBag:
    """Records of all frames, and the matches of the evaluated ones.

    ``table`` has one frame for each of ``evaluated``, the indices of their records. ``matched`` counts ground truth
    with a camera frame. ``truth`` is None without ground truth, and ``digest`` is that of all its boxes.
    """

    records: list[FrameRecord]
    table: MatchTable
    evaluated: npt.NDArray[np.int64]
    tolerance_ns: float
    truth: GroundTruth | None = None
    matched: int = 0
    unknown_classes: dict[str, int] | None = None
    digest: str = ""


def score(
    bag: CollectedBag,
    truth: GroundTruth | None,
    *,
    score_threshold: float,
    tolerance_ns: float | None = None,
    on_scored: Callable[[ScoredFrame], None] = lambda frame: None,
) -> ScoredBag:
    """Return the scored frames. Detections below ``score_threshold`` count for average precision only.

    ``tolerance_ns`` is a quarter of the median period of the RGB camera (of thermal without RGB frames) if None.
    Detections are released as they are matched, so that memory does not hold both. Before that, ``on_scored`` receives
    each frame with output.
    """
    if tolerance_ns is None:
        period_ns = bag.period_ns("rgb") or bag.period_ns("thermal")
        tolerance_ns = _FALLBACK_TOLERANCE_NS if period_ns is None else period_ns / 4
    table = MatchTable(bag.class_names)
    unknown: dict[str, int] = {}
    digest = ""
    assigned = np.full(len(bag.frames), -1, np.int64)
    if truth is not None:
        truth = truth.in_pixels(bag.image_size)
        digest = truth.digest()
        truth, unknown = truth.with_classes(bag.class_names)
        assigned = assign_ground_truth(
            truth.stamps,
            [frame.record.stamp_ns for frame in bag.frames],
            tolerance_ns,
            priority=[_priority(frame) for frame in bag.frames],
        )
    evaluated_records: list[FrameRecord] = []
    for frame, truth_index in zip(bag.frames, assigned.tolist(), strict=True):
        record = frame.record
        published = None
        if frame.published is not None:
            published = _at_threshold(frame.published, score_threshold)
            record.detections = counts_by_class(published.labels, bag.class_names)
        boxes, labels = None, None
        if truth is not None and truth_index >= 0:
            boxes, labels = truth.boxes[truth_index], truth.labels[truth_index]
            record.ground_truth_stamp_ns = int(truth.stamps[truth_index])
            if published is not None:
                record.outcome, record.reason = Outcome.EVALUATED, None
                _count(record, boxes, labels, published, bag.class_names)
                table.add(boxes, labels, frame.scored if frame.scored is not None else published)
                evaluated_records.append(record)
            else:
                _count_missed(record, labels, bag.class_names)
        elif published is not None:
            skipped_without_truth(record)
        if published is not None:
            on_scored(ScoredFrame(record, published, boxes, labels))
        frame.published = frame.scored = None
    records = [frame.record for frame in bag.frames]
    matched = int((assigned >= 0).sum())
    if truth is not None:
        records += _frameless(truth, set(range(len(truth.stamps))) - set(assigned.tolist()), bag.class_names)
        records.sort(key=lambda record: (record.stamp_ns, record.received_ns or 0))
    for index, record in enumerate(records):
        record.index = index
    evaluated = np.array([record.index for record in evaluated_records], np.int64)
    return ScoredBag(records, table, evaluated, tolerance_ns, truth, matched, unknown, digest)


def _priority(frame: CollectedFrame) -> int:
    """Of frames with equal stamps, one with output takes the ground truth, then one of the RGB camera."""
    if frame.published is not None:
        return 0
    return 2 if frame.record.camera == "thermal" else 1


def _at_threshold(detections: Detections, score_threshold: float) -> Detections:
    kept = detections.scores >= score_threshold
    if kept.all():
        return detections
    return Detections(detections.boxes[kept], detections.scores[kept], detections.labels[kept], detections.mode)


def _count(
    record: FrameRecord,
    boxes: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    published: Detections,
    class_names: Sequence[str],
) -> None:
    order = np.argsort(-published.scores, kind="stable")
    found = Detections(published.boxes[order], published.scores[order], published.labels[order], published.mode)
    matches = match_image(ImageResult("", boxes, labels, found), 0.0)
    record.true_positives = counts_by_class(labels[matches.pairs[:, 0]], class_names)
    record.false_negatives = counts_by_class(labels[matches.misses], class_names)
    record.false_positives = counts_by_class(found.labels[matches.false_alarms], class_names)
    if len(boxes):
        overlaps = intersection_over_union(boxes, found.boxes) * (labels[:, None] == found.labels[None])
        record.worst_iou = round(float(overlaps.max(axis=1, initial=0.0).min()), 4)


def _count_missed(record: FrameRecord, labels: npt.NDArray[np.int64], class_names: Sequence[str]) -> None:
    record.true_positives, record.false_positives = {}, {}
    record.false_negatives = counts_by_class(labels, class_names)
    record.worst_iou = 0.0 if len(labels) else None


def _frameless(truth: GroundTruth, indices: set[int], class_names: Sequence[str]) -> list[FrameRecord]:
    records = []
    for index in sorted(indices):
        stamp_ns = int(truth.stamps[index])
        record = FrameRecord(0, stamp_ns, Outcome.SKIPPED, SkipReason.NO_FRAME, ground_truth_stamp_ns=stamp_ns)
        _count_missed(record, truth.labels[index], class_names)
        records.append(record)
    return records
