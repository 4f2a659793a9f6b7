# SPDX-License-Identifier: Apache-2.0
"""Judge tracks against known identities: IDF1 and switches by motmetrics, and the ids that a freeze costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import motmetrics
import numpy as np
from scipy.optimize import linear_sum_assignment
from street_tracks import SCORE_THRESHOLD, Freezes, TrackedFrame

# An object keeps its id over a freeze if its last id within this time before equals its first id within it after.
AROUND_SEC = 1.0


@dataclass(frozen=True)
class Judgement:
    """Tracks of a recording. ``ids_of`` (one dict per frame) maps identities to ids of tracks."""

    idf1: float
    switches: int
    ids_of: list[dict[int, int]]


def judge(recorded: Sequence[TrackedFrame], tracker: Any, *, reset_at_mode_change: bool = False) -> Judgement:
    """Run ``tracker`` over a recording. Frames without an array are not judged."""
    accumulator = motmetrics.MOTAccumulator(auto_id=True)
    ids_of: list[dict[int, int]] = []
    mode = None
    for frame in recorded:
        detections = frame.detections
        if detections is None:
            ids_of.append({})
            continue
        if reset_at_mode_change and mode not in (None, detections.mode):
            tracker.reset()
        mode = detections.mode
        ids = tracker.update(
            detections.boxes,
            detections.scores,
            detections.labels,
            stamp_ns=frame.stamp_ns,
            score_threshold=SCORE_THRESHOLD,
        )
        kept = (ids != 0) & (detections.scores >= SCORE_THRESHOLD)
        truth, found = frame.truth, detections.boxes[kept]
        distance = _distance(truth.boxes, truth.labels, found, detections.labels[kept])
        accumulator.update(truth.identities.tolist(), ids[kept].tolist(), distance)
        rows, columns = linear_sum_assignment(np.nan_to_num(distance, nan=1.0))
        pairs = [(r, c) for r, c in zip(rows, columns, strict=True) if np.isfinite(distance[r, c])]
        ids_of.append({int(truth.identities[r]): int(ids[kept][c]) for r, c in pairs})
    summary = motmetrics.metrics.create().compute(accumulator, metrics=["idf1", "num_switches"], name="all")
    return Judgement(float(summary.idf1.iloc[0]), int(summary.num_switches.iloc[0]), ids_of)


def ids_lost_to_freezes(frozen: Judgement, whole: Judgement, freezes: Freezes, rate_hz: float) -> tuple[int, int]:
    """Return how many ids the freezes changed, and how many objects were seen before and after a freeze.

    A freeze changed an id if the object has another id after it, but keeps its id over this time without freezes.
    """
    changed = seen = 0
    for start, end in freezes.spans():
        before, after = _around(frozen, start, end, rate_hz)
        calm_before, calm_after = _around(whole, start, end, rate_hz)
        for identity in before.keys() & after.keys() & calm_before.keys() & calm_after.keys():
            if calm_before[identity] == calm_after[identity]:
                seen += 1
                changed += before[identity] != after[identity]
    return changed, seen


def _around(judgement: Judgement, start: float, end: float, rate_hz: float) -> tuple[dict[int, int], dict[int, int]]:
    first, last = (int(np.ceil(seconds * rate_hz - 1e-9)) for seconds in (start, end))
    reach = int(AROUND_SEC * rate_hz)
    before: dict[int, int] = {}
    after: dict[int, int] = {}
    for ids in judgement.ids_of[max(0, first - reach) : first]:
        before |= ids
    for ids in judgement.ids_of[last : last + reach][::-1]:
        after |= ids
    return before, after


def _distance(truth: np.ndarray, truth_labels: np.ndarray, found: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return 1 - IoU, NaN (never matched) below an IoU of 0.5 and between classes."""
    low = np.maximum(truth[:, None, :2], found[None, :, :2])
    high = np.minimum(truth[:, None, 2:], found[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    areas = np.prod(truth[:, None, 2:] - truth[:, None, :2], axis=2) + np.prod(
        found[None, :, 2:] - found[None, :, :2], axis=2
    )
    distance: np.ndarray = 1 - shared / (areas - shared)
    distance[(distance > 0.5) | (truth_labels[:, None] != labels[None])] = np.nan
    return distance
