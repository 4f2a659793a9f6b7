# SPDX-License-Identifier: Apache-2.0
"""Where one labelled pair comes from, and how it is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

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

    @property
    def homography(self) -> Homography | None:
        """Thermal to RGB in normalised coordinates, None where the pictures are aligned."""

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
        boxes, labels, problems = self.annotation.resolve(self.name, (rgb.shape[1], rgb.shape[0]), class_names)
        return PairedSample(self.name, rgb, thermal, boxes, labels, self.group, self.homography), problems


@dataclass
class LayoutListing:
    """What a layout found for one split: usable pairs, and what is wrong with the others."""

    records: list[PairRecord] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
