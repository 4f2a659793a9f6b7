# SPDX-License-Identifier: Apache-2.0
"""Image pairs sampled from a bag."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from fusion_mamba_ros.bags.bag_pairs import sample_bag_pairs
from fusion_mamba_ros.bags.bag_reading import BagError
from fusion_mamba_ros.cli import app

TOPICS = ("/rgb/image_raw", "/thermal/image_raw")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty images of each camera, the RGB level and the thermal count saying their number."""
    folder = tmp_path_factory.mktemp("images")
    for camera in ("rgb", "thermal"):
        (folder / camera).mkdir()
    for number in range(20):
        cv2.imwrite(str(folder / "rgb" / f"{number}.png"), np.full((24, 32, 3), 10 * number, np.uint8))
        cv2.imwrite(str(folder / "thermal" / f"{number}.png"), np.full((20, 30), 1000 * number, np.uint16))
    return folder


def make_bag(folders: Path, bag: Path, *options: object) -> Path:
    arguments = ["--rgb", folders / "rgb", "--thermal", folders / "thermal", "--out", bag, "--fps", 10, *options]
    result = CliRunner().invoke(app, ["make-bag", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return bag


def test_pairs_are_of_the_same_moment_and_spread_over_the_bag(folders: Path, tmp_path: Path) -> None:
    bag = make_bag(folders, tmp_path / "bag", "--thermal-offset", 0.015)
    pairs: list[Any] = sample_bag_pairs(bag, *TOPICS, count=5)
    numbers = [int(pair.rgb[0, 0, 0]) // 10 for pair in pairs]
    assert numbers[0] == 0 and numbers[-1] == 19 and len(numbers) == 5
    assert [int(pair.thermal[0, 0]) // 1000 for pair in pairs] == numbers
    assert all(pair.thermal.dtype == np.uint16 for pair in pairs)


def test_more_pairs_than_there_are_gives_all(folders: Path, tmp_path: Path) -> None:
    assert len(sample_bag_pairs(make_bag(folders, tmp_path / "bag"), *TOPICS, count=500)) == 20


def test_cameras_that_never_look_at_one_moment_are_refused(folders: Path, tmp_path: Path) -> None:
    bag = make_bag(folders, tmp_path / "bag", "--thermal-offset", 0.05)
    with pytest.raises(BagError, match=r"within 0.02 s: .* clocks differ: say by how much"):
        sample_bag_pairs(bag, *TOPICS, count=5)


def test_clocks_that_differ_are_brought_together(folders: Path, tmp_path: Path) -> None:
    bag = make_bag(folders, tmp_path / "bag", "--thermal-offset", 0.35)
    pairs: list[Any] = sample_bag_pairs(bag, *TOPICS, count=4, thermal_offset_sec=-0.35)
    assert [int(pair.thermal[0, 0]) // 1000 for pair in pairs] == [int(pair.rgb[0, 0, 0]) // 10 for pair in pairs]


def test_missing_topic_is_refused_by_name(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(BagError, match="/other"):
        sample_bag_pairs(make_bag(folders, tmp_path / "bag"), "/other", TOPICS[1], count=5)
