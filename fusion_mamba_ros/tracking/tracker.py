# SPDX-License-Identifier: Apache-2.0
"""Track boxes over time with the association of ByteTrack (arXiv 2110.06864), in seconds instead of frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.tracking.assignment import Indices, assign
from fusion_mamba_ros.tracking.kalman_filter import Array, BoxStates

NO_ID = 0
# Detections below this score are ignored. Those from here to the score threshold only continue tracks (the paper's
# D_low). The value is that of the paper.
LEAST_SCORE = 0.1
# Smallest overlap (IoU) of a track and a detection in the first and the second association, those of the paper.
LEAST_OVERLAP = 0.2
LEAST_OVERLAP_OF_LOW = 0.5
# A track ends when it was not seen for this long. It must outlast the flat-field correction of a thermal camera (about
# one second) and the time until the missing camera is noticed.
LOST_TIMEOUT_SEC = 3.0
# A clock that is adjusted may step back by up to this much; the tracker then assumes that no time has passed. After a
# larger step back, a bag has started again, and all tracks are forgotten.
LARGEST_STEP_BACK_SEC = 1.0


class Tracker:
    """Give each box the id of its track.

    Call `update` once for each array of detections. A track gets its id when it is seen for the second time, so that a
    single false detection uses none. Ids start at 1 and are never used again. Boxes must be in pixels of one image; the
    tracker knows no mode and no modality, so a change of mode ends no track.
    """

    def __init__(self) -> None:
        self._next_id = 1
        self.reset()

    def reset(self) -> None:
        """Forget all tracks. New tracks get new ids."""
        self._stamp_ns: int | None = None
        self._states = BoxStates.started(np.zeros((0, 4)))
        self._ids = np.zeros(0, np.int64)  # NO_ID: seen once
        self._labels = np.zeros(0, np.int64)
        self._unseen_sec = np.zeros(0)
        # Tracks that the last update did not see (the paper's T_lost).
        self._lost = np.zeros(0, bool)

    def __len__(self) -> int:
        return int(np.count_nonzero(self._ids != NO_ID))

    def update(
        self,
        boxes: npt.NDArray[Any],
        scores: npt.NDArray[Any],
        labels: npt.NDArray[Any],
        *,
        stamp_ns: int,
        score_threshold: float,
    ) -> npt.NDArray[np.int64]:
        """Return the id (n,) of each box, `NO_ID` for a box without a track.

        ``boxes`` (n, 4) are x1 y1 x2 y2 in pixels, ``scores`` (n,), ``labels`` (n,). Boxes below ``score_threshold``
        continue tracks but start none. All tracks are forgotten if ``stamp_ns`` is more than
        `LARGEST_STEP_BACK_SEC` before the last stamp, or more than `LOST_TIMEOUT_SEC` after it.
        """
        self._advance(stamp_ns)
        boxes, labels = np.asarray(boxes, np.float64).reshape(-1, 4), np.asarray(labels, np.int64)
        high = scores >= score_threshold
        low = ~high & (scores >= LEAST_SCORE)
        track_of = np.full(len(boxes), -1, np.intp)
        overlap = self._overlap(boxes, labels)

        def associate(tracks: npt.NDArray[np.bool_], detections: npt.NDArray[np.bool_], least_overlap: float) -> None:
            rows = np.flatnonzero(tracks & ~seen)
            columns = np.flatnonzero(detections & (track_of < 0))
            if len(rows) and len(columns):
                chosen = assign(1 - overlap[np.ix_(rows, columns)], 1 - least_overlap)
                track_of[columns[chosen[1]]] = rows[chosen[0]]
                seen[rows[chosen[0]]] = True

        seen = np.zeros(len(self._ids), bool)
        confirmed = self._ids != NO_ID
        associate(confirmed, high, LEAST_OVERLAP)
        associate(confirmed & ~self._lost, low, LEAST_OVERLAP_OF_LOW)
        associate(~confirmed, high, LEAST_OVERLAP)

        matched = np.flatnonzero(track_of >= 0)
        self._states.update(track_of[matched], boxes[matched])
        self._confirm(seen & ~confirmed)
        ids = np.full(len(boxes), NO_ID, np.int64)
        ids[matched] = self._ids[track_of[matched]]
        self._unseen_sec[seen] = 0.0
        self._lost = ~seen
        self._keep(seen | confirmed)
        started: Indices = np.flatnonzero(high & (track_of < 0))
        self._start(boxes[started], labels[started])
        return ids

    def _advance(self, stamp_ns: int) -> None:
        """Predict all tracks at ``stamp_ns``. Forget them if they expired or if the time went back."""
        seconds = 0.0 if self._stamp_ns is None else (stamp_ns - self._stamp_ns) * 1e-9
        if seconds < -LARGEST_STEP_BACK_SEC or seconds > LOST_TIMEOUT_SEC:
            self.reset()
        self._stamp_ns = stamp_ns
        if seconds > 0 and len(self._ids):
            self._unseen_sec += seconds
            self._keep(self._unseen_sec <= LOST_TIMEOUT_SEC)
            self._states.predict(seconds)

    def _overlap(self, boxes: Array, labels: npt.NDArray[np.int64]) -> Array:
        """Return the IoU (tracks, boxes), 0 for boxes of another class.

        Both boxes are enlarged by the standard deviation of the track's centre. The deviation grows while a track is
        unseen, so a track can be found again where a plain IoU would be 0 (the idea of C-BIoU, arXiv 2211.14317).
        """
        margin = self._states.centre_deviation()[:, None, :]
        tracks = self._states.boxes()[:, None, :]
        low = np.maximum(tracks[..., :2], boxes[None, :, :2]) - margin
        high = np.minimum(tracks[..., 2:], boxes[None, :, 2:]) + margin
        shared = np.prod(np.maximum(high - low, 0.0), axis=2)
        areas = np.prod(tracks[..., 2:] - tracks[..., :2] + 2 * margin, axis=2)
        areas = areas + np.prod(np.maximum(boxes[None, :, 2:] - boxes[None, :, :2], 0.0) + 2 * margin, axis=2)
        overlap: Array = shared / np.maximum(areas - shared, np.finfo(np.float64).tiny)
        overlap[self._labels[:, None] != labels[None]] = 0.0
        return overlap

    def _confirm(self, mask: npt.NDArray[np.bool_]) -> None:
        count = int(np.count_nonzero(mask))
        self._ids[mask] = np.arange(self._next_id, self._next_id + count)
        self._next_id += count

    def _keep(self, mask: npt.NDArray[np.bool_]) -> None:
        if not mask.all():
            self._states = self._states.kept(mask)
            self._ids, self._labels = self._ids[mask], self._labels[mask]
            self._unseen_sec, self._lost = self._unseen_sec[mask], self._lost[mask]

    def _start(self, boxes: Array, labels: npt.NDArray[np.int64]) -> None:
        if len(boxes):
            self._states = self._states.joined(BoxStates.started(boxes))
            self._ids = np.concatenate([self._ids, np.full(len(boxes), NO_ID, np.int64)])
            self._labels = np.concatenate([self._labels, labels])
            self._unseen_sec = np.concatenate([self._unseen_sec, np.zeros(len(boxes))])
            self._lost = np.concatenate([self._lost, np.zeros(len(boxes), bool)])
