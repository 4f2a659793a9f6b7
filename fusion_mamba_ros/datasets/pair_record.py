# SPDX-License-Identifier: Apache-2.0
"""Where one labelled pair, or set of images, comes from, and how it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from fusion_mamba_ros.datasets.annotation import Annotation
from fusion_mamba_ros.datasets.image_files import read_image
from fusion_mamba_ros.datasets.problems import Problem
from fusion_mamba_ros.datasets.sample import Sample
from fusion_mamba_ros.perception.registration import Homographies


class Record(Protocol):
    """One pair of a dataset, not read yet."""

    @property
    def name(self) -> str:
        """Name of the pair, unique in its dataset."""

    @property
    def group(self) -> str:
        """Group of the pair, for example day or night; may be empty."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities that it has an image of."""

    @property
    def homographies(self) -> Homographies:
        """Modality name to its homography to RGB in normalised coordinates; absent where the images are aligned."""

    def read(self, class_names: Sequence[str]) -> tuple[Sample, list[Problem]]:
        """Return the sample and what is wrong with its boxes. Raises ``UnreadableImageError``."""


@dataclass(frozen=True)
class PairRecord:
    """The image files of one moment by modality, and their boxes.

    ``name`` is the stem that matched them; ``homographies`` bring a modality to RGB in normalised coordinates, absent
    where the images are aligned.
    """

    name: str
    images: Mapping[str, Path]
    annotation: Annotation
    group: str = ""
    homographies: Homographies = field(default_factory=dict, compare=False)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities that it has an image of."""
        return tuple(self.images)

    def read(self, class_names: Sequence[str]) -> tuple[Sample, list[Problem]]:
        """Return the sample and what is wrong with its boxes. Raises ``UnreadableImageError``."""
        images = {name: read_image(path, name) for name, path in self.images.items()}
        sample = Sample(self.name, images, group=self.group, homographies=self.homographies)
        boxes, labels, problems = self.annotation.resolve(self.name, sample.size, class_names)
        return replace(sample, boxes=boxes, labels=labels), problems


@dataclass
class LayoutListing:
    """What a layout found for one split: usable pairs, and what is wrong with the others."""

    records: list[PairRecord] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
