# SPDX-License-Identifier: Apache-2.0
"""Augmentation takes another pair where one cannot be read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bright_patches import PLAIN, patch_sample

from fusion_mamba_ros.datasets import Augmentation, DatasetError, UnreadableImageError


class BrokenDataset(list[Any]):
    names = ("a", "b", "c")

    def __getitem__(self, index: Any) -> Any:
        if index == 1:
            raise UnreadableImageError("image 'b.jpg' is cut short")
        return super().__getitem__(index)


def test_unreadable_pair_is_replaced_named_and_counted() -> None:
    dataset = BrokenDataset([patch_sample(0), None, patch_sample(2)])
    augment = Augmentation(PLAIN)
    names = {augment(dataset, 1, np.random.default_rng(seed)).name for seed in range(30)}
    assert names == {"pair0", "pair2"}
    assert augment.skipped == {"b": "image 'b.jpg' is cut short"}


def test_unreadable_pair_is_refused_if_asked() -> None:
    with pytest.raises(UnreadableImageError, match=r"b.jpg"):
        Augmentation(PLAIN, refuse_unreadable=True)(BrokenDataset([patch_sample(0), None]), 1, np.random.default_rng(0))


def test_nothing_readable_ends_with_an_error_instead_of_a_loop() -> None:
    class AllBroken(BrokenDataset):
        def __getitem__(self, index: Any) -> Any:
            raise UnreadableImageError("gone")

    with pytest.raises(DatasetError, match=r"none of the pairs"):
        Augmentation(PLAIN)(AllBroken([0, 0, 0]), 1, np.random.default_rng(0))
