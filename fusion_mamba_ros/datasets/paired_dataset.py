# SPDX-License-Identifier: Apache-2.0
"""Provide labelled samples (RGB-thermal pairs) as a sequence that reads one sample at a time."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence

import numpy as np

from fusion_mamba_ros.datasets.pair_record import Record
from fusion_mamba_ros.datasets.problems import DatasetError, Problem
from fusion_mamba_ros.datasets.sample import Sample
from fusion_mamba_ros.datasets.source_traits import SourceTraits
from fusion_mamba_ros.perception.modality import REFERENCE, in_order
from fusion_mamba_ros.perception.registration import Homography


class PairedDataset(Sequence[Sample]):
    """Labelled pairs of one split. ``dataset[i]`` reads the images of a pair and returns a ``Sample``.

    ``names``, ``groups``, ``sources`` and ``modalities_of_each`` have one entry for each pair. A pair may lack a
    modality. ``class_names`` are the class names by label. ``problems`` are the problems that were found when the split
    was listed. Indexing raises ``UnreadableImageError`` if an image cannot be decoded. The dataset holds no open files,
    so worker processes can share it.
    """

    def __init__(self, records: Sequence[Record], class_names: Sequence[str], problems: Sequence[Problem] = ()) -> None:
        self.records = tuple(records)
        self.class_names = tuple(class_names)
        self.problems = tuple(problems)
        self.names = tuple(record.name for record in self.records)
        self.groups = tuple(record.group for record in self.records)
        # Records of other packages may lack it.
        self.sources = tuple(getattr(record, "source", SourceTraits()) for record in self.records)
        self.modalities_of_each = tuple(frozenset(record.modalities) for record in self.records)
        for what, names in (("class", self.class_names), ("pair", self.names)):
            if len(set(names)) != len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise DatasetError(f"{what} names must be unique: {twice!r} occurs {names.count(twice)} times")

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities for which at least one pair has an image."""
        return in_order(frozenset().union(*self.modalities_of_each))

    @property
    def homographies(self) -> dict[str, Homography]:
        """Homography to RGB by modality, if all pairs with an image of the modality and RGB share it.

        A modality has no entry if it is aligned or if its pairs have different homographies.
        """
        shared = {}
        for name in self.modalities:
            # A homography has no effect without a reference image.
            records = [record for record in self.records if {name, REFERENCE} <= set(record.modalities)]
            # All pairs of one folder share one array, so compare each array only once.
            matrices = {id(found): found for found in (record.homographies.get(name) for record in records)}
            first, *others = matrices.values() or [None]
            if first is not None and all(other is not None and np.allclose(first, other) for other in others):
                shared[name] = first
        return shared

    @property
    def homography(self) -> Homography | None:
        """Deprecated: use ``homographies``."""
        warnings.warn("homography is deprecated: use homographies", DeprecationWarning, stacklevel=2)
        return self.homographies.get("thermal")

    def with_any_of(self, modalities: Collection[str]) -> PairedDataset:
        """Return the pairs that have an image of at least one of ``modalities``. All problems are kept."""
        records = [record for record in self.records if not set(modalities).isdisjoint(record.modalities)]
        return PairedDataset(records, self.class_names, self.problems)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]  # slices are not supported
        return self.read(index)[0]

    def read(self, index: int) -> tuple[Sample, list[Problem]]:
        """Return the pair at ``index`` and the problems of its boxes. Raises ``UnreadableImageError``."""
        return self.records[index].read(self.class_names)
