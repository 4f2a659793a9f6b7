# SPDX-License-Identifier: Apache-2.0
"""Count the boxes whose class is not in the class list. They are dropped when a pair is read."""

from __future__ import annotations

from collections import Counter

from fusion_mamba_ros.datasets.pair_record import PairRecord
from fusion_mamba_ros.datasets.paired_dataset import PairedDataset


def count_unknown_boxes(dataset: PairedDataset) -> dict[str, int]:
    """Return the number of boxes of each unknown class, in descending order. Skips procedural scenes."""
    counts: Counter[str] = Counter()
    for record in dataset.records:
        if isinstance(record, PairRecord):
            counts.update(name for name in record.annotation.classes if name not in dataset.class_names)
    return dict(counts.most_common())
