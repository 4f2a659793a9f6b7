# SPDX-License-Identifier: Apache-2.0
"""Open a dataset folder or a YAML file that joins several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .layouts import paired_yolo
from .paired_dataset import PairedDataset
from .problems import DatasetError


def open_dataset(path: str | Path, split: str, *, classes: Sequence[str] | None = None) -> PairedDataset:
    """Return the pairs of ``split`` (train, val or test) of a dataset folder, or of the folders that a YAML joins.

    ``classes`` overrides the class list; boxes of other classes are dropped. Pair names are `folder/stem`. Raises
    ``DatasetError`` with the remedy if the folder, the layout or the split is not there, or nothing in it is usable.
    """
    root = Path(path).expanduser()
    if not root.exists():
        raise DatasetError(f"dataset {str(path)!r} does not exist")
    if not paired_yolo.is_paired_yolo(root):
        raise DatasetError(f"dataset {str(path)!r} has no layout that is known: see docs/datasets.md")
    if split not in paired_yolo.splits(root):
        raise DatasetError(
            f"dataset {str(path)!r} has no split {split!r}: it has {', '.join(paired_yolo.splits(root))}"
        )
    listing = paired_yolo.list_split(root, split)
    records = [replace(record, name=f"{root.name}/{record.name}") for record in listing.records]
    return PairedDataset(records, classes or paired_yolo.class_names(root), listing.problems)
