# SPDX-License-Identifier: Apache-2.0
"""Define the files of one labelled pair (or set of images) and read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from fusion_mamba_ros.datasets.annotation import Annotation
from fusion_mamba_ros.datasets.image_files import read_image
from fusion_mamba_ros.datasets.problems import Problem
from fusion_mamba_ros.datasets.sample import Sample
from fusion_mamba_ros.datasets.source_traits import SourceTraits
from fusion_mamba_ros.perception.registration import Homographies


class Record(Protocol):
    """One pair of a dataset that has not been read yet."""

    @property
    def name(self) -> str:
        """Name of the pair, unique in its dataset."""

    @property
    def group(self) -> str:
        """Group of the pair, for example day or night; may be empty."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities for which the pair has an image."""

    @property
    def homographies(self) -> Homographies:
        """Homography to RGB by modality name, in normalised coordinates. Aligned modalities have no entry."""

    def read(self, class_names: Sequence[str]) -> tuple[Sample, list[Problem]]:
        """Return the sample and the problems of its boxes. Raises ``UnreadableImageError`` on a damaged image."""


@dataclass(frozen=True)
class PairRecord:
    """The image files of one moment by modality, and their boxes.

    ``name`` is the common stem of the files. ``homographies`` maps a modality to its homography to RGB in normalised
    coordinates. Aligned modalities have no entry. ``source`` describes the folder that the pair comes from.
    """

    name: str
    images: Mapping[str, Path]
    annotation: Annotation
    group: str = ""
    homographies: Homographies = field(default_factory=dict, compare=False)
    source: SourceTraits = field(default_factory=SourceTraits, compare=False)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities for which the pair has an image."""
        return tuple(self.images)

    def read(self, class_names: Sequence[str]) -> tuple[Sample, list[Problem]]:
        """Return the sample and the problems of its boxes. Raises ``UnreadableImageError`` on a damaged image."""
        images = {name: read_image(path, name) for name, path in self.images.items()}
        sample = Sample(self.name, images, group=self.group, homographies=self.homographies)
        boxes, labels, problems = self.annotation.resolve(self.name, sample.size, class_names)
        labelled = self.source.labelled_mask(class_names)
        return replace(sample, boxes=boxes, labels=labels, labelled=labelled), problems


@dataclass
class LayoutListing:
    """Result of listing one split: the usable pairs, and the problems of the other pairs."""

    records: list[PairRecord] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
