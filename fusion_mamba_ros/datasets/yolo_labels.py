# SPDX-License-Identifier: Apache-2.0
"""Read label files in YOLO format: lines of `class cx cy w h`, as fractions of the image size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fusion_mamba_ros.datasets.annotation import Annotation
from fusion_mamba_ros.datasets.problems import DatasetError


def read_yolo_labels(path: Path, class_names: Sequence[str]) -> Annotation:
    """Return the boxes of one label file. An empty file describes an image without objects.

    A class index beyond ``class_names`` gets the name ``class N``. Its boxes are dropped and reported later, because
    this name is not in the class list. Raises ``FileNotFoundError``, or ``DatasetError`` with the file name and the
    line number if a line is malformed.
    """
    boxes: list[tuple[float, float, float, float]] = []
    classes: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            index, (centre_x, centre_y, width, height) = int(words[0]), map(float, words[1:])
        except ValueError:
            raise DatasetError(f"{str(path)!r} line {number} is {line[:60]!r}: expected 'class cx cy w h'") from None
        boxes.append((centre_x - width / 2, centre_y - height / 2, centre_x + width / 2, centre_y + height / 2))
        classes.append(class_names[index] if 0 <= index < len(class_names) else f"class {index}")
    return Annotation(np.array(boxes, np.float64).reshape(-1, 4), tuple(classes), normalised=True)
