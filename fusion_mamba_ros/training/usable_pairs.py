# SPDX-License-Identifier: Apache-2.0
"""Selection of the pairs that a model can be trained and validated on."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from fusion_mamba_ros.datasets import PairedDataset
from fusion_mamba_ros.perception.modality import modality_named
from fusion_mamba_ros.training.recipe import TrainingError


def usable_pairs(dataset: PairedDataset, modalities: Sequence[str], split: str, console: Console) -> PairedDataset:
    """Return the pairs of ``split`` that have an image of at least one of the model's ``modalities``.

    Print how many pairs are left out, and which modalities no pair has: the streams of these modalities see missing
    images only. Raises `TrainingError` if no pair is left.
    """
    usable = dataset.with_any_of(modalities)
    if not len(usable):
        raise TrainingError(
            f"no pair of split {split!r} has an image of {_titles(modalities)}: the data have "
            f"{_titles(dataset.modalities)}, choose model.modalities accordingly"
        )
    left_out = len(dataset) - len(usable)
    if left_out:
        console.print(f"{left_out} pairs of split {split} have no image of {_titles(modalities)}: they are left out")
    never = [name for name in modalities if name not in usable.modalities]
    if never:
        console.print(f"no pair of split {split} has an image of {_titles(never)}: its stream sees missing images only")
    return usable


def _titles(modalities: Sequence[str]) -> str:
    return " or ".join(modality_named(name).title for name in modalities)
