# SPDX-License-Identifier: Apache-2.0
"""Hold out pairs of a split for validation, for datasets without a validation split."""

from __future__ import annotations

from fusion_mamba_ros.datasets.image_sequence import natural_key
from fusion_mamba_ros.datasets.paired_dataset import PairedDataset
from fusion_mamba_ros.datasets.problems import DatasetError


def hold_out(dataset: PairedDataset, fraction: float) -> tuple[PairedDataset, PairedDataset]:
    """Split ``dataset`` and return two datasets: the remaining pairs and the held-out pairs.

    Of each folder and group, the last ``fraction`` of the pairs by name is held out. The pairs are not drawn at random:
    neighbours in a sequence are nearly the same image, so a random split would make the validation too optimistic.
    ``problems`` stay with the first dataset. Raises ``DatasetError`` if one of the two would be empty.
    """
    if not 0 < fraction < 1:
        raise DatasetError(f"the fraction to hold out is {fraction:g}: give more than 0 and less than 1")
    parts: dict[tuple[str, str], list[int]] = {}
    for index, (name, group) in enumerate(zip(dataset.names, dataset.groups, strict=True)):
        parts.setdefault((name.rpartition("/")[0], group), []).append(index)
    held: set[int] = set()
    for indices in parts.values():
        ordered = sorted(indices, key=lambda index: natural_key(dataset.names[index]))
        held.update(ordered[len(ordered) - round(fraction * len(ordered)) :])
    if not held or len(held) == len(dataset):
        raise DatasetError(
            f"a fraction of {fraction:g} holds {len(held)} of {len(dataset)} pairs out: choose it so that both parts "
            "have pairs"
        )
    kept = [record for index, record in enumerate(dataset.records) if index not in held]
    given = [record for index, record in enumerate(dataset.records) if index in held]
    return PairedDataset(kept, dataset.class_names, dataset.problems), PairedDataset(given, dataset.class_names)
