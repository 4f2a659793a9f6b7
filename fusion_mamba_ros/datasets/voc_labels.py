# SPDX-License-Identifier: Apache-2.0
"""Read label files in Pascal VOC format: one XML file for each pair, with class names and corners in pixels."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from fusion_mamba_ros.datasets.annotation import Annotation
from fusion_mamba_ros.datasets.problems import DatasetError

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_voc_labels(path: Path) -> Annotation:
    """Return the boxes of one label file. A file without objects describes an image without objects.

    Raises ``FileNotFoundError``, or ``DatasetError`` with the file name if the file is malformed.
    """
    try:
        root = ElementTree.fromstring(path.read_bytes())
    except (
        ElementTree.ParseError,
        ValueError,
        LookupError,
    ) as error:  # ValueError, LookupError: expat does not know the encoding
        raise DatasetError(f"{str(path)!r} is no XML: {error}") from error
    boxes, classes = [], []
    for item in root.iter("object"):
        name, corners = item.findtext("name", "").strip(), item.find("bndbox")
        try:
            if corners is None or not name:
                raise ValueError
            boxes.append([float(corners.findtext(corner, "")) for corner in _CORNERS])
        except ValueError:
            raise DatasetError(f"{str(path)!r} has an object {name!r} without a name or complete bndbox") from None
        classes.append(name)
    return Annotation(np.array(boxes, np.float64).reshape(-1, 4), tuple(classes))
