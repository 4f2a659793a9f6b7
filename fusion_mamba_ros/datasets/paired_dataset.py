# SPDX-License-Identifier: Apache-2.0
"""A sequence of labelled RGB-thermal pairs, read from disk one at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..perception.registration import Homography
from .pair_record import Record
from .problems import DatasetError, Problem
from .sample import PairedSample


class PairedDataset(Sequence[PairedSample]):
    """Labelled pairs of one split; ``dataset[i]`` reads both pictures and returns a ``PairedSample``.

    ``names`` and ``groups`` have one entry for each pair; ``class_names`` gives the labels their meaning; ``problems``
    lists what was found wrong when the split was listed. Indexing raises ``UnreadableImageError`` if a picture that
    looked complete cannot be decoded. Holds no open files, so it can be shared by worker processes.
    """

    def __init__(self, records: Sequence[Record], class_names: Sequence[str], problems: Sequence[Problem] = ()) -> None:
        self.records = tuple(records)
        self.class_names = tuple(class_names)
        self.problems = tuple(problems)
        self.names = tuple(record.name for record in self.records)
        self.groups = tuple(record.group for record in self.records)
        for what, names in (("class", self.class_names), ("pair", self.names)):
            if len(set(names)) != len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise DatasetError(f"{what} names must be unique: {twice!r} is there {names.count(twice)} times")

    @property
    def homography(self) -> Homography | None:
        """The homography that all pairs share; None if they are aligned or have several."""
        # Pairs of one folder share the object.
        first, *others = {id(record.homography): record.homography for record in self.records}.values()
        if first is None or any(other is None or not np.allclose(first, other) for other in others):
            return None
        return first

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> PairedSample:  # type: ignore[override]  # slices are not offered
        return self.read(index)[0]

    def read(self, index: int) -> tuple[PairedSample, list[Problem]]:
        """Return the pair at ``index`` and what is wrong with its boxes. Raises ``UnreadableImageError``."""
        return self.records[index].read(self.class_names)
