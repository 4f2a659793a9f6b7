# SPDX-License-Identifier: Apache-2.0
"""True boxes by stamp, and their assignment to the frames of a bag."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


class GroundTruthError(ValueError):
    """Error for ground truth that cannot be used. The message is one sentence."""


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """True boxes of frames, in the order of their stamps. No two frames have the same stamp.

    ``boxes`` has an array (n, 4) x1 y1 x2 y2 for each frame, in pixels of the RGB image, or in fractions of its size if
    ``normalised``. ``labels`` are indices into ``class_names``. ``duplicates`` counts dropped frames whose stamp an
    earlier frame has.
    """

    source: str
    kind: str
    class_names: tuple[str, ...]
    stamps: npt.NDArray[np.int64]
    boxes: list[npt.NDArray[np.float32]]
    labels: list[npt.NDArray[np.int64]]
    duplicates: int = 0
    normalised: bool = False

    def in_pixels(self, size: tuple[int, int] | None) -> GroundTruth:
        """Return the boxes in pixels of an image of ``size`` (width, height)."""
        if not self.normalised:
            return self
        if size is None:
            raise GroundTruthError(
                f"ground truth '{self.source}' has boxes as fractions of the image, and no RGB image of the bag tells "
                "its size: give ground truth in pixels (COCO or a topic)"
            )
        scale = np.array([*size, *size], np.float32)
        boxes = [array * scale for array in self.boxes]
        return GroundTruth(self.source, self.kind, self.class_names, self.stamps, boxes, self.labels, self.duplicates)

    def digest(self) -> str:
        """Return a digest of all stamps and boxes with their classes, whatever the order of boxes and class names."""
        digest = hashlib.sha256()
        for stamp, boxes, labels in zip(self.stamps.tolist(), self.boxes, self.labels, strict=True):
            rows = sorted(
                (self.class_names[label], box.tobytes())
                for box, label in zip(np.asarray(boxes, np.float32), labels.tolist(), strict=True)
            )
            digest.update(repr((stamp, rows)).encode())
        return digest.hexdigest()

    def with_classes(self, class_names: Sequence[str]) -> tuple[GroundTruth, dict[str, int]]:
        """Return the ground truth in the labels of ``class_names``, and the counts of the dropped boxes by class."""
        position = {name: index for index, name in enumerate(class_names)}
        mapping = np.array([position.get(name, -1) for name in self.class_names], np.int64)
        unknown: dict[str, int] = {}
        boxes, labels = [], []
        for frame_boxes, frame_labels in zip(self.boxes, self.labels, strict=True):
            new = mapping[frame_labels] if len(frame_labels) else frame_labels
            for label in frame_labels[new < 0].tolist():
                name = self.class_names[label]
                unknown[name] = unknown.get(name, 0) + 1
            boxes.append(frame_boxes[new >= 0])
            labels.append(new[new >= 0])
        known = GroundTruth(
            self.source, self.kind, tuple(class_names), self.stamps, boxes, labels, self.duplicates, self.normalised
        )
        return known, dict(sorted(unknown.items()))


@dataclass
class GroundTruthBuilder:
    """Collect the frames of a ground truth in any order."""

    source: str
    kind: str
    normalised: bool = False
    _frames: dict[int, tuple[npt.NDArray[np.float32], list[int]]] = field(default_factory=dict)
    _names: dict[str, int] = field(default_factory=dict)
    _duplicates: int = 0

    def name_classes(self, names: Sequence[str]) -> None:
        """Name classes that need not occur in a frame."""
        for name in names:
            self._names.setdefault(name, len(self._names))

    def add(self, stamp_ns: int, boxes: npt.NDArray[np.float32], class_names: Sequence[str]) -> None:
        """Add one frame. The first of several frames with one stamp is kept."""
        if stamp_ns in self._frames:
            self._duplicates += 1
            return
        self.name_classes(class_names)
        valid = np.isfinite(boxes).all(axis=1) & (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        labels = [self._names[name] for name, keep in zip(class_names, valid, strict=True) if keep]
        self._frames[stamp_ns] = (boxes[valid].astype(np.float32), labels)

    def build(self) -> GroundTruth:
        """Return the ground truth. Raises `GroundTruthError` if there is no frame."""
        if not self._frames:
            raise GroundTruthError(f"ground truth '{self.source}' has no frame: nothing to compare with")
        stamps = sorted(self._frames)
        return GroundTruth(
            self.source,
            self.kind,
            tuple(self._names),
            np.array(stamps, np.int64),
            [self._frames[stamp][0] for stamp in stamps],
            [np.array(self._frames[stamp][1], np.int64) for stamp in stamps],
            self._duplicates,
            self.normalised,
        )


def assign_ground_truth(
    truth_stamps: npt.NDArray[np.int64],
    frame_stamps: Sequence[int],
    tolerance_ns: float,
    *,
    priority: Sequence[int] | None = None,
) -> npt.NDArray[np.int64]:
    """Return for each frame the index of its ground truth, -1 for none.

    The closest frame and ground truth are assigned first. Of equally close frames, the one with the lowest ``priority``
    comes first, then the one with the lowest index. ``truth_stamps`` are sorted and unique; ``frame_stamps`` may have
    any order. ``tolerance_ns`` is the largest difference of the two stamps.
    """
    frames = np.asarray(frame_stamps, np.int64)
    result = np.full(len(frames), -1, np.int64)
    if not len(frames) or not len(truth_stamps):
        return result
    ranks = np.zeros(len(frames), np.int64) if priority is None else np.asarray(priority, np.int64)
    reach = int(tolerance_ns)
    first = np.searchsorted(truth_stamps, frames - reach, side="left")
    last = np.searchsorted(truth_stamps, frames + reach, side="right")
    counts = last - first
    owners = np.repeat(np.arange(len(frames)), counts)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    truths = np.arange(len(owners)) - starts + np.repeat(first, counts)
    distances = np.abs(truth_stamps[truths] - frames[owners])
    taken: set[int] = set()
    for candidate in np.lexsort((owners, ranks[owners], distances)).tolist():
        frame, truth = int(owners[candidate]), int(truths[candidate])
        if result[frame] < 0 and truth not in taken:
            result[frame] = truth
            taken.add(truth)
    return result
