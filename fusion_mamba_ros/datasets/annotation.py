# SPDX-License-Identifier: Apache-2.0
"""Store the boxes of one pair as in its label file, and convert them to pixels and label indices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.datasets.problems import Problem, ProblemKind

# A box may exceed the image by this much without a report: label tools round to whole pixels or six digits.
_TOLERANCE_PX = 1.5
_MINIMUM_SIDE_PX = 1.0


@dataclass(frozen=True)
class Annotation:
    """Boxes of a label file.

    ``boxes`` is (n, 4) float64 x1 y1 x2 y2, in pixels or, if ``normalised``, as fractions of the image size.
    ``classes`` has one class name for each box.
    """

    boxes: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)))
    classes: tuple[str, ...] = ()
    normalised: bool = False

    def resolve(
        self, name: str, size: tuple[int, int], class_names: Sequence[str]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], list[Problem]]:
        """Return boxes in pixels, labels and problems for an image of ``size`` (width, height).

        Boxes are clipped to the image. These boxes are dropped, and each is reported as a problem: boxes with less than
        a pixel of width or height in the image, boxes with non-finite values, duplicates, and boxes of classes not in
        ``class_names``.
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
                report(kind, f"{text} dropped: less than a pixel of it lies in the {width}x{height} image")
                continue
            if np.abs(clipped - box).max() > _TOLERANCE_PX:
                report(ProblemKind.OUT_OF_BOUNDS, f"{text} clipped to the {width}x{height} image")
            row = (*clipped.tolist(), index_of[class_name])
            if row in kept:
                report(ProblemKind.DUPLICATED, f"{text} occurs twice: one dropped")
                continue
            kept[row] = None
        rows = np.array(list(kept), np.float64).reshape(-1, 5)
        return rows[:, :4].astype(np.float32), rows[:, 4].astype(np.int64), problems
