# SPDX-License-Identifier: Apache-2.0
"""Give the detections of the node the ids of their tracks."""

from __future__ import annotations

from collections.abc import Callable

from fusion_mamba_ros.perception.detections import Detections
from fusion_mamba_ros.tracking.tracker import Tracker


class TrackIds:
    """Track the boxes of successive arrays, in the inference thread.

    ``score_threshold()`` returns the threshold in force. Weaker detections continue tracks and are then removed, so the
    published boxes are those of the node without tracking.
    """

    def __init__(self, score_threshold: Callable[[], float]) -> None:
        self._score_threshold = score_threshold
        self._tracker = Tracker()
        self._size: tuple[int, int] | None = None

    def add_to(self, detections: Detections, *, stamp_ns: int, size: tuple[int, int] | None) -> Detections:
        """Return ``detections`` with ids. ``size`` is that of the image whose pixels the boxes are in.

        A change of size starts all tracks anew, because boxes in other pixels do not continue them.
        """
        if size != self._size:
            self._tracker.reset()
            self._size = size
        threshold = self._score_threshold()
        ids = self._tracker.update(
            detections.boxes, detections.scores, detections.labels, stamp_ns=stamp_ns, score_threshold=threshold
        )
        return detections.tracked(ids, threshold)
