# SPDX-License-Identifier: Apache-2.0
"""The frames of a bag with their detections, before they are compared with ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fusion_mamba_ros.evaluation.bag_evaluation.frame_record import FrameRecord, Outcome, SkipReason
from fusion_mamba_ros.evaluation.bag_evaluation.pairing_replay import FrameFate
from fusion_mamba_ros.perception.detections import Detections


@dataclass(slots=True, eq=False)
class CollectedFrame:
    """A frame's record and its detections.

    ``published`` are the detections that the node publishes, None without output. ``scored`` are those that mAP is
    computed from. ``released_ns`` is the recorded time at which pairing released the result, and ``computing_ms`` the
    time that the detector took for it.
    """

    record: FrameRecord
    published: Detections | None = None
    scored: Detections | None = None
    released_ns: int | None = None
    computing_ms: float | None = None


@dataclass(eq=False)
class CollectedBag:
    """The frames of a bag.

    ``fates`` has every image message. ``problems`` are sentences about unreadable parts. ``sizes`` (width, height) and
    ``frame_ids`` are those of the last image of each camera. ``seconds`` is the time that the detector and all around
    it took, ``recorded_threshold`` the score threshold in a recorded label info.
    """

    frames: list[CollectedFrame] = field(default_factory=list)
    fates: list[FrameFate] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    topics: dict[str, str] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    clock_jumps: int = 0
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    frame_ids: dict[str, str] = field(default_factory=dict)
    seconds: float | None = None
    recorded_threshold: float | None = None

    @property
    def image_size(self) -> tuple[int, int] | None:
        """Width and height of the RGB images, None without one."""
        return self.sizes.get("rgb")

    def stamps_of(self, camera: str) -> list[int]:
        """Return the valid stamps of one camera in recorded order."""
        return [fate.stamp_ns for fate in self.fates if fate.camera == camera and (fate.stamp_ns or 0) > 0]  # type: ignore[misc]

    def period_ns(self, camera: str) -> float | None:
        """Return the median time between the different stamps of one camera, None with fewer than two."""
        stamps = np.unique(np.array(self.stamps_of(camera), np.int64))
        return float(np.median(np.diff(stamps))) if len(stamps) > 1 else None

    def add_skipped_fates(self) -> None:
        """Add one frame for every image message that is in no result, and sort all frames by stamp."""
        for fate in self.fates:
            if fate.reason is None:
                continue
            stamp_ns = fate.stamp_ns if fate.stamp_ns else fate.received_ns
            record = FrameRecord(0, stamp_ns, Outcome.SKIPPED, fate.reason, camera=fate.camera)
            setattr(record, f"{fate.camera}_stamp_ns", fate.stamp_ns)
            record.received_ns, record.message = fate.received_ns, fate.message
            self.frames.append(CollectedFrame(record))
        self.frames.sort(key=lambda frame: (frame.record.stamp_ns, frame.record.received_ns or 0))


def compacted(detections: Detections) -> Detections:
    """Return the detections in as little memory as possible: float32 numbers, 16-bit labels, no views."""
    return replace(
        detections,
        boxes=np.array(detections.boxes, np.float32),
        scores=np.array(detections.scores, np.float32),
        labels=np.array(detections.labels, np.int16),
    )


def counts_by_class(labels: np.ndarray, class_names: Sequence[str]) -> dict[str, int]:
    """Return how often each class occurs, without classes that do not."""
    counts = np.bincount(labels.astype(np.int64), minlength=len(class_names))
    return {name: int(count) for name, count in zip(class_names, counts, strict=True) if count}


def skipped_without_truth(record: FrameRecord) -> None:
    """Mark a frame that has output but no ground truth."""
    record.outcome, record.reason = Outcome.SKIPPED, SkipReason.NO_GROUND_TRUTH
