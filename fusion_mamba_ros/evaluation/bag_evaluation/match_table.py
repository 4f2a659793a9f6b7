# SPDX-License-Identifier: Apache-2.0
"""Match detections to true boxes once per frame, as COCO does, and compute average precision of any set of frames.

pycocotools keeps every detection as a dictionary, several gigabytes for ten minutes of video. This table needs 16 bytes
for each detection. Frames of several bags can be pooled, and each mode and time window is a choice of frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.evaluation.detection_metrics import MAX_DETECTIONS, RECALLS, PrecisionRecall
from fusion_mamba_ros.perception.detections import Detections

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
_IOU_50, _IOU_75 = 0, 5
# pycocotools limits its thresholds to this.
_LIMITS = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)


@dataclass(frozen=True)
class AveragePrecision:
    """Average precision of one class. All are None without a true box. ``curve`` is at IoU 0.5."""

    ap: float | None
    ap50: float | None
    ap75: float | None
    boxes: int
    curve: PrecisionRecall | None


class MatchTable:
    """Detections of ``class_names`` by frame: score, and the IoU thresholds at which they are correct.

    ``frames`` is the number of frames.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = tuple(class_names)
        self.frames = 0
        # Arrays of single frames, or of many after `_join`.
        self._truth: list[npt.NDArray[np.int32]] = []
        self._owners: list[npt.NDArray[np.int32]] = []
        self._labels: list[npt.NDArray[np.int16]] = []
        self._scores: list[npt.NDArray[np.float32]] = []
        self._correct: list[npt.NDArray[np.uint16]] = []

    def add(self, truth_boxes: npt.NDArray[np.float32], truth_labels: npt.NDArray[np.int64], found: Detections) -> None:
        """Add a frame: its true boxes (n, 4) x1 y1 x2 y2, their labels and the detections."""
        self._truth.append(np.bincount(truth_labels, minlength=len(self.class_names)).astype(np.int32)[None])
        for label in np.unique(found.labels).tolist():
            chosen = np.flatnonzero(found.labels == label)
            chosen = chosen[np.argsort(-found.scores[chosen], kind="stable")][:MAX_DETECTIONS]
            bits = match_bits(truth_boxes[truth_labels == label], found.boxes[chosen])
            self._owners.append(np.full(len(chosen), self.frames, np.int32))
            self._labels.append(np.full(len(chosen), label, np.int16))
            self._scores.append(np.asarray(found.scores[chosen], np.float32))
            self._correct.append(bits)
        self.frames += 1

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the content as plain arrays."""
        self._join()
        return {
            "class_names": np.array(self.class_names, np.str_),
            "truth": self._truth[0],
            "owners": self._owners[0],
            "labels": self._labels[0],
            "scores": self._scores[0],
            "correct": self._correct[0],
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[Any]]) -> MatchTable:
        """Return the table of `arrays`. Raises ``ValueError`` if they do not fit together."""
        names = tuple(str(name) for name in arrays["class_names"])
        truth, owners, labels = arrays["truth"], arrays["owners"], arrays["labels"]
        scores, correct = arrays["scores"], arrays["correct"]
        if truth.ndim != 2 or truth.shape[1] != len(names) or (truth < 0).any():
            raise ValueError(f"the counts of true boxes have the shape {truth.shape}, for {len(names)} classes")
        if not len(owners) == len(labels) == len(scores) == len(correct) or not np.isfinite(scores).all():
            raise ValueError("the detections disagree in length, or a score is no number")
        if len(owners) and not (owners.min() >= 0 and owners.max() < len(truth)):
            raise ValueError("a detection belongs to a frame that is not there")
        if len(labels) and not (labels.min() >= 0 and labels.max() < len(names)):
            raise ValueError("a detection has a class that is not there")
        table = cls(names)
        table.frames = len(truth)
        table._truth, table._owners, table._labels = [truth], [owners], [labels]
        table._scores, table._correct = [scores], [correct]
        return table

    @classmethod
    def pooled(cls, tables: Sequence[MatchTable]) -> MatchTable:
        """Return the frames of all tables in one. The class lists may differ: classes are joined by name."""
        names = tuple(dict.fromkeys(name for table in tables for name in table.class_names))
        result = cls(names)
        for table in tables:
            table._join()
            mapping = np.array([names.index(name) for name in table.class_names], np.int16)
            truth = np.zeros((len(table._truth[0]), len(names)), np.int32)
            truth[:, mapping] = table._truth[0]
            result._owners.append(table._owners[0] + np.int32(result.frames))
            result.frames += len(truth)
            result._truth.append(truth)
            result._labels.append(mapping[table._labels[0]] if len(table._labels[0]) else table._labels[0])
            result._scores.append(table._scores[0])
            result._correct.append(table._correct[0])
        return result

    def boxes(self, frames: npt.NDArray[np.bool_] | None = None) -> npt.NDArray[np.int64]:
        """Return the number of true boxes of each class in the chosen ``frames`` (a mask), or in all."""
        self._join()
        truth = self._truth[0]
        counts: npt.NDArray[np.int64] = (truth if frames is None else truth[frames]).sum(axis=0, dtype=np.int64)
        return counts

    def average_precision(self, frames: npt.NDArray[np.bool_] | None = None) -> dict[str, AveragePrecision]:
        """Return the average precision of each class over the chosen ``frames`` (a mask), or over all."""
        self._join()
        boxes = self.boxes(frames)
        owners, labels = self._owners[0], self._labels[0]
        inside = np.ones(len(owners), bool) if frames is None else frames[owners]
        result = {}
        for label, name in enumerate(self.class_names):
            if not boxes[label]:
                result[name] = AveragePrecision(None, None, None, 0, None)
                continue
            chosen = np.flatnonzero(inside & (labels == label))
            # The order of pycocotools: by score, equal scores by frame and rank.
            chosen = chosen[np.argsort(-self._scores[0][chosen], kind="mergesort")]
            scores, bits = self._scores[0][chosen].astype(np.float64), self._correct[0][chosen]
            curves = [
                _precisions((bits >> step & 1).astype(np.uint16), scores, int(boxes[label]))
                for step in range(len(IOU_THRESHOLDS))
            ]
            aps = [float(precision.mean()) for precision, _ in curves]
            curve = PrecisionRecall(*curves[_IOU_50])
            result[name] = AveragePrecision(float(np.mean(aps)), aps[_IOU_50], aps[_IOU_75], int(boxes[label]), curve)
        return result

    def score_histogram(self, bins: int) -> dict[str, tuple[list[int], list[int]]]:
        """Return correct and wrong detections (IoU 0.5) of each class by score, in equal bins from 0 to 1."""
        self._join()
        result = {}
        for label, name in enumerate(self.class_names):
            chosen = self._labels[0] == label
            index = np.minimum((self._scores[0][chosen] * bins).astype(int), bins - 1)
            correct = (self._correct[0][chosen] & 1).astype(bool)
            both = [np.bincount(index[part], minlength=bins).tolist() for part in (correct, ~correct)]
            result[name] = (both[0], both[1])
        return result

    def _join(self) -> None:
        empty: tuple[npt.NDArray[Any], ...] = (
            np.zeros((0, len(self.class_names)), np.int32),
            *(np.zeros(0, kind) for kind in (np.int32, np.int16, np.float32, np.uint16)),
        )
        columns: tuple[list[Any], ...] = (self._truth, self._owners, self._labels, self._scores, self._correct)
        for column, nothing in zip(columns, empty, strict=True):
            if len(column) != 1:
                column[:] = [np.concatenate([nothing, *column])]


def mean_of(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values that are not None, None without such a value."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def match_bits(truth: npt.NDArray[np.float32], found: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Return for each detection (best first) of one class a bit for each IoU threshold at which it is correct.

    The rule is that of pycocotools: each detection takes the free true box with the highest IoU, the last of equal
    ones, if this IoU reaches the threshold.
    """
    bits = np.zeros(len(found), np.uint16)
    if not len(truth) or not len(found):
        return bits
    overlaps = _overlaps(truth, found)
    reaching = overlaps >= IOU_THRESHOLDS[0]
    # Most detections of an evaluation overlap nothing.
    near = np.flatnonzero(reaching.any(axis=0))
    if reaching.sum(axis=0).max() <= 1 and reaching.sum(axis=1).max() <= 1:
        # No two detections and no two true boxes compete.
        reached = (overlaps[:, near].max(axis=0)[:, None] >= _LIMITS).sum(axis=1)
        bits[near] = (1 << reached) - 1
        return bits
    columns = overlaps[:, near].T.tolist()
    for step, limit in enumerate(_LIMITS.tolist()):
        free = [True] * len(truth)
        for detection, column in zip(near.tolist(), columns, strict=True):
            best, highest = -1, limit
            for index, overlap in enumerate(column):
                if free[index] and overlap >= highest:
                    best, highest = index, overlap
            if best >= 0:
                free[best] = False
                bits[detection] |= 1 << step
    return bits


def _overlaps(truth: npt.NDArray[np.float32], found: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the IoU (n, m), computed from corner and size as pycocotools does."""
    a, b = np.asarray(truth, np.float64)[:, None], np.asarray(found, np.float64)[None]
    size_a, size_b = a[..., 2:] - a[..., :2], b[..., 2:] - b[..., :2]
    sides = np.minimum(a[..., :2] + size_a, b[..., :2] + size_b) - np.maximum(a[..., :2], b[..., :2])
    intersection = np.where((sides > 0).all(axis=-1), sides.prod(axis=-1), 0.0)
    overlaps: npt.NDArray[np.float64] = intersection / np.maximum(
        size_a.prod(axis=-1) + size_b.prod(axis=-1) - intersection, 1e-300
    )
    return overlaps


def _precisions(
    correct: npt.NDArray[np.uint16], scores: npt.NDArray[np.float64], boxes: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the interpolated precision at the 101 recalls, and the scores at which they are reached."""
    precision, reached_scores = np.zeros(len(RECALLS)), np.zeros(len(RECALLS))
    if len(correct):
        hits = np.cumsum(correct, dtype=np.float64)
        recall = hits / boxes
        # pycocotools adds the smallest step to the denominator.
        raw = hits / (np.arange(1, len(hits) + 1) + np.spacing(1))
        envelope = np.maximum.accumulate(raw[::-1])[::-1]
        positions = np.searchsorted(recall, RECALLS, side="left")
        inside = positions < len(hits)
        precision[inside], reached_scores[inside] = envelope[positions[inside]], scores[positions[inside]]
    return precision, reached_scores
