# SPDX-License-Identifier: Apache-2.0
"""The boxes of a scored frame, and the choice of the frames that a report shows."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
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

    @property
    def errors(self) -> int:
        """Misses and false alarms."""
        return self.misses + self.false_alarms


class _Highest:
    """The frames with the highest ranks. Of equal ranks the earlier frame is kept."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._added = 0
        self._heap: list[tuple[tuple[int, int], int, ScoredFrame]] = []

    def add(self, rank: tuple[int, int], frame: ScoredFrame) -> None:
        self._added += 1
        # The second number differs between entries, so that frames are never compared.
        push = heapq.heappush if len(self._heap) < self._most else heapq.heappushpop
        push(self._heap, (rank, -self._added, frame))

    def frames(self) -> list[ScoredFrame]:
        return [entry[2] for entry in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)]


class FramePicker:
    """Keep the frames that a report shows, in constant memory: the ``worst``, and samples along the drive.

    With ``earlier_errors``, the number of errors of an earlier run by the stamp of the ground truth, also those that
    got worse most.
    """

    def __init__(self, worst: int, earlier_errors: Mapping[int, int] | None = None) -> None:
        self._wants_none = not worst
        self._worst, self._worse = _Highest(worst), _Highest(worst)
        self._earlier_errors = earlier_errors or {}
        self._samples: list[ScoredFrame] = []
        self._step = 1
        self._offered = 0

    def offer(self, frame: ScoredFrame) -> None:
        """Take the next frame of the drive."""
        if self._wants_none:
            return
        self._sample(frame)
        if frame.errors:
            # Among equal errors more misses rank first: a missed person is worse than a false alarm.
            self._worst.add((frame.errors, frame.misses), frame)
        stamp_ns = frame.record.ground_truth_stamp_ns
        increase = 0 if stamp_ns is None else frame.errors - self._earlier_errors.get(stamp_ns, frame.errors)
        if increase > 0:
            self._worse.add((increase, frame.misses), frame)

    @property
    def worst(self) -> list[ScoredFrame]:
        """The frames with the most misses and false alarms, worst first. Frames without an error are not in it."""
        return self._worst.frames()

    @property
    def worse(self) -> list[ScoredFrame]:
        """The frames whose errors increased most since the earlier run."""
        return self._worse.frames()

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
