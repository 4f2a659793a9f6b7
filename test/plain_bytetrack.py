# SPDX-License-Identifier: Apache-2.0
"""ByteTrack as the paper describes it, with a Python loop over the tracks and time in frames, for comparison.

Written after arXiv 2110.06864 and the tracker of SORT (arXiv 1602.00763); uses SciPy for the assignment.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

LOST_FRAMES = 30
_MOTION = np.eye(8) + np.eye(8, k=4)


@dataclass
class Track:
    """One track: a Kalman filter of centre, size and their velocities per frame."""

    mean: np.ndarray
    covariance: np.ndarray
    label: int
    id: int = 0
    unseen: int = 0
    box: np.ndarray = field(default_factory=lambda: np.zeros(4))

    @classmethod
    def started(cls, box: np.ndarray, label: int) -> Track:
        mean = np.concatenate([_position(box), np.zeros(4)])
        deviation = np.repeat([2 / 20, 10 / 160], 4) * mean[3]
        return cls(mean, np.diag(deviation**2), label)

    def predict(self) -> None:
        noise = np.repeat([1 / 20, 1 / 160], 4) * self.mean[3]
        self.mean = _MOTION @ self.mean
        self.covariance = _MOTION @ self.covariance @ _MOTION.T + np.diag(noise**2)
        centre, size = self.mean[:2], np.maximum(self.mean[2:4], 1.0)
        self.box = np.concatenate([centre - size / 2, centre + size / 2])

    def update(self, box: np.ndarray) -> None:
        noise = np.eye(4) * (self.mean[3] / 20) ** 2
        gain = np.linalg.solve(self.covariance[:4, :4] + noise, self.covariance[:4]).T
        self.mean = self.mean + gain @ (_position(box) - self.mean[:4])
        self.covariance = self.covariance - gain @ self.covariance[:4]
        self.unseen = 0


class PlainByteTrack:
    """ByteTrack that counts frames. ``update`` takes and returns what `tracking.tracker.Tracker.update` does."""

    def __init__(self) -> None:
        self.tracks: list[Track] = []
        self.next_id = 1

    def reset(self) -> None:
        self.tracks = []

    def update(
        self,
        boxes: npt.NDArray[np.floating],
        scores: npt.NDArray[np.floating],
        labels: npt.NDArray[np.int64],
        *,
        score_threshold: float,
        stamp_ns: int = 0,
    ) -> np.ndarray:
        ids = np.zeros(len(boxes), np.int64)
        high = [i for i in range(len(boxes)) if scores[i] >= score_threshold]
        low = [i for i in range(len(boxes)) if 0.1 <= scores[i] < score_threshold]
        for track in self.tracks:
            track.predict()
            track.unseen += 1
        confirmed = [track for track in self.tracks if track.id]
        tentative = [track for track in self.tracks if not track.id]
        rest, high = self._match(confirmed, high, boxes, labels, 0.2, ids)
        self._match([track for track in rest if track.unseen == 1], low, boxes, labels, 0.5, ids)
        dropped, high = self._match(tentative, high, boxes, labels, 0.3, ids)
        self.tracks = [t for t in self.tracks if t.unseen <= LOST_FRAMES and not any(t is d for d in dropped)]
        self.tracks += [Track.started(boxes[i], labels[i]) for i in high]
        return ids

    def _match(
        self,
        tracks: list[Track],
        detections: list[int],
        boxes: npt.NDArray[np.floating],
        labels: npt.NDArray[np.int64],
        least: float,
        ids: npt.NDArray[np.int64],
    ) -> tuple[list[Track], list[int]]:
        """Match, update and return the tracks and the detections that are left."""
        overlap = np.zeros((len(tracks), len(detections)))
        for row, track in enumerate(tracks):
            for column, index in enumerate(detections):
                if track.label == labels[index]:
                    overlap[row, column] = _iou(track.box, boxes[index])
        overlap[overlap < least] = 0
        matched = [(r, c) for r, c in zip(*linear_sum_assignment(-overlap), strict=True) if overlap[r, c] > 0]
        for row, column in matched:
            track, index = tracks[row], detections[column]
            track.update(boxes[index])
            if not track.id:
                track.id, self.next_id = self.next_id, self.next_id + 1
            ids[index] = track.id
        rows, columns = {r for r, _ in matched}, {c for _, c in matched}
        return (
            [track for row, track in enumerate(tracks) if row not in rows],
            [index for column, index in enumerate(detections) if column not in columns],
        )


def _position(box: np.ndarray) -> np.ndarray:
    return np.concatenate([(box[:2] + box[2:]) / 2, box[2:] - box[:2]])


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    shared = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return float(shared / union)
