# SPDX-License-Identifier: Apache-2.0
"""A sequence of labelled RGB-thermal pairs, read from disk one at a time."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from .image_files import read_rgb, read_thermal
from .pair_record import PairRecord
from .problems import DatasetError, Problem
from .sample import PairedSample

log = logging.getLogger(__name__)


class PairedDataset(Sequence[PairedSample]):
    """Labelled pairs of one split; ``dataset[i]`` reads both pictures and returns a ``PairedSample``.

    ``names`` and ``groups`` have one entry for each pair; ``class_names`` gives the labels their meaning; ``problems``
    lists what was found wrong when the split was listed. Indexing raises ``UnreadableImageError`` if a picture that
    looked complete cannot be decoded. Holds no open files, so it can be shared by worker processes.
    """

    def __init__(
        self, records: Sequence[PairRecord], class_names: Sequence[str], problems: Sequence[Problem] = ()
    ) -> None:
        self.records = tuple(records)
        self.class_names = tuple(class_names)
        self.problems = tuple(problems)
        self.names = tuple(record.name for record in self.records)
        self.groups = tuple(record.group for record in self.records)
        if len(set(self.class_names)) != len(self.class_names):
            raise DatasetError(f"class names are not unique: {', '.join(self.class_names)}")

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> PairedSample:  # type: ignore[override]  # slices are not offered
        return self.read(index)[0]

    def read(self, index: int) -> tuple[PairedSample, list[Problem]]:
        """Return the pair at ``index`` and what is wrong with its boxes."""
        record = self.records[index]
        rgb, thermal = read_rgb(record.rgb), read_thermal(record.thermal)
        size = (rgb.shape[1], rgb.shape[0])
        boxes, labels, problems = record.annotation.resolve(record.name, size, self.class_names)
        return PairedSample(record.name, rgb, thermal, boxes, labels, record.group), problems
