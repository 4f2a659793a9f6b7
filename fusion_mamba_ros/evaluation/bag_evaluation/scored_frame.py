# SPDX-License-Identifier: Apache-2.0
"""The boxes of a scored frame, and the choice of the frames that a report shows."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.evaluation.bag_evaluation.frame_record import FrameRecord
from fusion_mamba_ros.perception.detections import Detections

_FEWEST_SAMPLES = 12


@dataclass(frozen=True, eq=False)
class ScoredFrame:
    """A frame with output: its record, the detections at the operating threshold and the true boxes.

    ``true_boxes`` (n, 4) x1 y1 x2 y2 and ``true_labels`` (n,) are None without ground truth.
    """

    record: FrameRecord
    detections: Detections
    true_boxes: npt.NDArray[np.float32] | None = None
    true_labels: npt.NDArray[np.int64] | None = None

    @property
    def false_alarms(self) -> int:
        """Number of detections without a true box."""
        return sum((self.record.false_positives or {}).values())

    @property
    def misses(self) -> int:
        """Number of true boxes without a detection."""
        return sum((self.record.false_negatives or {}).values())


class FramePicker:
    """Keep the frames that a report shows, in constant memory: the ``worst``, and samples along the drive."""

    def __init__(self, worst: int) -> None:
        self._most_worst = worst
        self._worst: list[tuple[tuple[int, int, int], ScoredFrame]] = []
        self._samples: list[ScoredFrame] = []
        self._step = 1
        self._offered = 0

    def offer(self, frame: ScoredFrame) -> None:
        """Take the next frame of the drive."""
        if not self._most_worst:
            return
        self._sample(frame)
        errors = frame.misses + frame.false_alarms
        if not errors:
            return
        # Among equal errors more misses rank first, then the earlier frame. The last number makes keys differ.
        entry = ((errors, frame.misses, -self._offered), frame)
        if len(self._worst) < self._most_worst:
            heapq.heappush(self._worst, entry)
        else:
            heapq.heappushpop(self._worst, entry)

    @property
    def worst(self) -> list[ScoredFrame]:
        """The frames with the most misses and false alarms, worst first. Frames without an error are not in it."""
        return [frame for _, frame in sorted(self._worst, key=lambda entry: entry[0], reverse=True)]

    @property
    def samples(self) -> list[ScoredFrame]:
        """12 to 24 frames at equal distances, or all frames of a shorter drive."""
        return list(self._samples)

    def _sample(self, frame: ScoredFrame) -> None:
        if self._offered % self._step == 0:
            if len(self._samples) == 2 * _FEWEST_SAMPLES:
                self._samples = self._samples[::2]
                self._step *= 2
            self._samples.append(frame)
        self._offered += 1
