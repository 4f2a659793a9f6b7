# SPDX-License-Identifier: Apache-2.0
"""Join one split of several datasets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fusion_mamba_ros.datasets.open_dataset import open_dataset
from fusion_mamba_ros.datasets.paired_dataset import PairedDataset
from fusion_mamba_ros.datasets.problems import DatasetError


def open_datasets(
    paths: Sequence[str | Path],
    split: str,
    *,
    classes: Sequence[str] | None = None,
    validate_on_test: bool = False,
    refuse_problems: bool = False,
) -> PairedDataset:
    """Return ``split`` of all ``paths`` (folders or YAML files) as one dataset. See ``open_dataset``.

    Raises ``DatasetError`` if a pair name occurs twice, or if the class lists differ and ``classes`` is not given.
    """
    parts = [
        open_dataset(path, split, classes=classes, validate_on_test=validate_on_test, refuse_problems=refuse_problems)
        for path in paths
    ]
    if not parts:
        raise DatasetError("no dataset given")
    if len({part.class_names for part in parts}) > 1:
        texts = "; ".join(f"{path}: {', '.join(part.class_names)}" for path, part in zip(paths, parts, strict=True))
        raise DatasetError(f"the datasets have different classes ({texts}): join them in a YAML file with 'classes'")
    records = [record for part in parts for record in part.records]
    return PairedDataset(records, parts[0].class_names, [problem for part in parts for problem in part.problems])
