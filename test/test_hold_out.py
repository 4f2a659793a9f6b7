# SPDX-License-Identifier: Apache-2.0
"""Holding out a share of the training pairs for validation."""

from __future__ import annotations

from pathlib import Path

import pytest
from paired_folders import write_lines, write_paired_yolo

from fusion_mamba_ros.datasets import DatasetError, open_dataset
from fusion_mamba_ros.datasets.hold_out import hold_out


def test_last_pairs_of_each_folder_and_group_are_held_out(tmp_path: Path) -> None:
    write_paired_yolo(tmp_path / "one", {"train": [f"{n:05d}{kind}" for n in range(1, 11) for kind in "DN"]})
    # Natural order: frame_10 comes after frame_9.
    write_paired_yolo(tmp_path / "two", {"train": [f"frame_{n}" for n in range(1, 11)]})
    write_lines(tmp_path / "d.yaml", ["datasets: [one, two]"])
    kept, held = hold_out(open_dataset(tmp_path / "d.yaml", "train"), 0.2)
    expected = {"one/00009D", "one/00010D", "one/00009N", "one/00010N", "two/frame_9", "two/frame_10"}
    assert set(held.names) == expected and len(kept) == 24 and not set(kept.names) & expected
    assert kept.class_names == held.class_names


@pytest.mark.parametrize(("fraction", "words"), [(0.0, "more than 0"), (1.0, "less than 1"), (0.01, "holds 0 of 4")])
def test_fraction_that_leaves_one_side_empty_is_refused(tmp_path: Path, fraction: float, words: str) -> None:
    data = open_dataset(write_paired_yolo(tmp_path / "one", {"train": ["a", "b", "c", "d"]}), "train")
    with pytest.raises(DatasetError, match=words):
        hold_out(data, fraction)
