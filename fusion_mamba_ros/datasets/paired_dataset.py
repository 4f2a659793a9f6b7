# SPDX-License-Identifier: Apache-2.0
"""A sequence of labelled samples (RGB-thermal pairs), read from disk one at a time."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence

import numpy as np

from fusion_mamba_ros.datasets.pair_record import Record
from fusion_mamba_ros.datasets.problems import DatasetError, Problem
from fusion_mamba_ros.datasets.sample import Sample
from fusion_mamba_ros.perception.modality import REFERENCE, in_order
from fusion_mamba_ros.perception.registration import Homography


class PairedDataset(Sequence[Sample]):
    """Labelled pairs of one split; ``dataset[i]`` reads its images and returns a ``Sample``.

    ``names``, ``groups`` and ``modalities_of_each`` have one entry for each pair, which may lack a modality;
    ``class_names`` gives the labels their meaning; ``problems``
    lists what was found wrong when the split was listed. Indexing raises ``UnreadableImageError`` if a picture that
    looked complete cannot be decoded. Holds no open files, so it can be shared by worker processes.
    """

    def __init__(self, records: Sequence[Record], class_names: Sequence[str], problems: Sequence[Problem] = ()) -> None:
        self.records = tuple(records)
        self.class_names = tuple(class_names)
        self.problems = tuple(problems)
        self.names = tuple(record.name for record in self.records)
        self.groups = tuple(record.group for record in self.records)
        self.modalities_of_each = tuple(frozenset(record.modalities) for record in self.records)
        for what, names in (("class", self.class_names), ("pair", self.names)):
            if len(set(names)) != len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise DatasetError(f"{what} names must be unique: {twice!r} is there {names.count(twice)} times")

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities that some pair has an image of."""
        return in_order(frozenset().union(*self.modalities_of_each))

    @property
    def homographies(self) -> dict[str, Homography]:
        """Of each modality the homography that all pairs with an image of it share; absent: aligned, or several."""
        shared = {}
        for name in self.modalities:
            # Without an image to bring it to, a homography means nothing.
            records = [record for record in self.records if {name, REFERENCE} <= set(record.modalities)]
            # Pairs of one folder share the object.
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
        """Return the pairs that have an image of at least one of ``modalities``; all problems stay listed."""
        records = [record for record in self.records if not set(modalities).isdisjoint(record.modalities)]
        return PairedDataset(records, self.class_names, self.problems)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]  # slices are not offered
        return self.read(index)[0]

    def read(self, index: int) -> tuple[Sample, list[Problem]]:
        """Return the pair at ``index`` and what is wrong with its boxes. Raises ``UnreadableImageError``."""
        return self.records[index].read(self.class_names)
