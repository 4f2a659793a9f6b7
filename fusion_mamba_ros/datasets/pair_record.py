# SPDX-License-Identifier: Apache-2.0
"""Where one labelled pair comes from, and how it is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from ..perception.registration import Homography
from .annotation import Annotation
from .image_files import read_rgb, read_thermal
from .problems import Problem
from .sample import PairedSample


class Record(Protocol):
    """One pair of a dataset, not read yet."""

    @property
    def name(self) -> str:
        """Name of the pair, unique in its dataset."""

    @property
    def group(self) -> str:
        """Group of the pair, for example day or night; may be empty."""

    def read(self, class_names: Sequence[str]) -> tuple[PairedSample, list[Problem]]:
        """Return the sample and what is wrong with its boxes. Raises ``UnreadableImageError``."""


@dataclass(frozen=True)
class PairRecord:
    """A pair of picture files and its boxes.

    ``name`` is the stem that matched them; ``homography`` brings thermal to RGB in normalised coordinates, None where
    the pictures are aligned.
    """

    name: str
    rgb: Path
    thermal: Path
    annotation: Annotation
    group: str = ""
    homography: Homography | None = field(default=None, compare=False)

    def read(self, class_names: Sequence[str]) -> tuple[PairedSample, list[Problem]]:
        """Return the sample and what is wrong with its boxes. Raises ``UnreadableImageError``."""
        rgb, thermal = read_rgb(self.rgb), read_thermal(self.thermal)
        size = (rgb.shape[1], rgb.shape[0])
        if self.homography is not None:
            thermal = _registered(thermal, self.homography, size)
        boxes, labels, problems = self.annotation.resolve(self.name, size, class_names)
        return PairedSample(self.name, rgb, thermal, boxes, labels, self.group), problems


@dataclass
class LayoutListing:
    """What a layout found for one split: usable pairs, and what is wrong with the others."""

    records: list[PairRecord] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def _registered(
    thermal: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], homography: Homography, size: tuple[int, int]
) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    """Return the thermal picture where an RGB picture of ``size`` (width, height) shows the same, its depth kept."""
    height, width = thermal.shape
    matrix = np.diag([size[0], size[1], 1.0]) @ homography @ np.diag([1.0 / width, 1.0 / height, 1.0])
    # OpenCV counts from pixel centres, the homography from picture corners.
    half = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])
    # What the camera does not cover gets the median, which leaves the percentiles of a later scaling where they are.
    return cv2.warpPerspective(
        thermal,
        np.linalg.inv(half) @ matrix @ half,
        size,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=float(np.median(thermal)),
    )
