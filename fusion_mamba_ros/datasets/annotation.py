# SPDX-License-Identifier: Apache-2.0
"""The boxes of one pair as a label file states them, before the picture's size and the class list are applied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.datasets.problems import Problem, ProblemKind

# Label tools round to whole pixels or six digits: a box may exceed the picture by this much without being reported.
_TOLERANCE_PX = 1.5
_MINIMUM_SIDE_PX = 1.0


@dataclass(frozen=True)
class Annotation:
    """Boxes as stored: ``boxes`` (n, 4) float64 x1 y1 x2 y2, in pixels or (``normalised``) as shares of the picture.

    ``classes`` has one class name for each box.
    """

    boxes: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)))
    classes: tuple[str, ...] = ()
    normalised: bool = False

    def resolve(
        self, name: str, size: tuple[int, int], class_names: Sequence[str]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], list[Problem]]:
        """Return boxes in pixels, labels and problems for a picture of ``size`` (width, height).

        Boxes are clipped to the picture. Dropped, each with a problem: boxes wholly outside or without area, boxes that
        hold no number, second copies of a box, and classes that ``class_names`` does not have.
        """
        width, height = size
        boxes = self.boxes * (width, height, width, height) if self.normalised else self.boxes
        index_of = {class_name: index for index, class_name in enumerate(class_names)}
        kept: dict[tuple[float, ...], None] = {}
        problems: list[Problem] = []

        def report(kind: ProblemKind, detail: str) -> None:
            problems.append(Problem(kind, name, detail))

        for box, class_name in zip(boxes, self.classes, strict=True):
            text = f"{class_name} box ({', '.join(f'{value:.1f}' for value in box)})"
            if class_name not in index_of:
                report(ProblemKind.UNKNOWN_CLASS, f"{text} dropped: the classes are {', '.join(class_names)}")
                continue
            if not np.isfinite(box).all() or box[2] <= box[0] or box[3] <= box[1]:
                report(ProblemKind.BAD_BOX, f"{text} dropped: it has no area")
                continue
            clipped = np.clip(box, 0, (width, height, width, height))
            if clipped[2] - clipped[0] < _MINIMUM_SIDE_PX or clipped[3] - clipped[1] < _MINIMUM_SIDE_PX:
                outside = np.abs(clipped - box).max() > 0
                kind = ProblemKind.OUT_OF_BOUNDS if outside else ProblemKind.BAD_BOX
                report(kind, f"{text} dropped: less than a pixel of it lies in the {width}x{height} picture")
                continue
            if np.abs(clipped - box).max() > _TOLERANCE_PX:
                report(ProblemKind.OUT_OF_BOUNDS, f"{text} clipped to the {width}x{height} picture")
            row = (*clipped.tolist(), index_of[class_name])
            if row in kept:
                report(ProblemKind.DUPLICATED, f"{text} is there twice: one dropped")
                continue
            kept[row] = None
        rows = np.array(list(kept), np.float64).reshape(-1, 5)
        return rows[:, :4].astype(np.float32), rows[:, 4].astype(np.int64), problems
