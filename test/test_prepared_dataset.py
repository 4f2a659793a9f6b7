# SPDX-License-Identifier: Apache-2.0
"""Images that are prepared for training: size, scaling and cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from paired_folders import HEIGHT, WIDTH, write_image, write_paired_yolo

from fusion_mamba_ros.datasets import PreparedDataset, Sample, open_dataset
from fusion_mamba_ros.datasets.prepared_dataset import prepare
from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling, scale_thermal


def sample(
    rgb_size: tuple[int, int] = (640, 480), thermal_size: tuple[int, int] = (320, 256), dtype: npt.DTypeLike = np.uint8
) -> Sample:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (*rgb_size[::-1], 3), dtype=np.uint8)
    thermal = rng.integers(0, 2000, thermal_size[::-1]).astype(dtype)
    return Sample("a", {"rgb": rgb, "thermal": thermal}, np.array([[64, 48, 320, 240]], np.float32), np.array([1]))


def test_thermal_comes_to_the_size_of_rgb_and_boxes_shrink_with_the_images() -> None:
    ready = prepare(sample(), fit=(400, 320))
    # 640x480 fills 400x320 at five eighths (width) or two thirds (height): the larger, so that a crop still has detail.
    assert ready.size == (427, 320) and ready.images["thermal"].shape == (320, 427)
    np.testing.assert_allclose(ready.boxes[0], np.array([64, 48, 320, 240]) * np.tile([427 / 640, 320 / 480], 2))


def test_small_images_are_not_enlarged() -> None:
    assert prepare(sample((64, 48), (64, 48)), fit=(400, 320)).size == (64, 48)


def test_what_is_ready_comes_back_as_it_is() -> None:
    ready = prepare(sample(), fit=(400, 320))
    assert prepare(ready, fit=(400, 320)) is ready and prepare(ready) is ready


def test_sixteen_bit_thermal_is_scaled_by_the_one_rule() -> None:
    pair = sample((320, 256), (320, 256), np.uint16)
    scaling = ThermalScaling(method="range", range_min=0, range_max=2000)
    ready = prepare(pair, scaling)
    assert ready.images["thermal"].dtype == np.uint8
    np.testing.assert_array_equal(ready.images["thermal"], scale_thermal(pair.images["thermal"], scaling))


@pytest.mark.parametrize("fit", [None, (160, 128)], ids=["own size", "shrunk"])
def test_black_hot_images_of_eight_bits_become_white_hot_at_any_size(fit: tuple[int, int] | None) -> None:
    cold = np.full((256, 320), 10, np.uint8)
    pair = Sample("a", {"rgb": np.zeros((256, 320, 3), np.uint8), "thermal": cold})
    assert (prepare(pair, ThermalScaling(polarity="black_hot"), fit).images["thermal"] == 245).all()


def test_second_reading_comes_from_memory_until_the_limit(tmp_path: Path) -> None:
    root = write_paired_yolo(tmp_path / "data", {"train": ["a", "b", "c"]})
    one_pair = WIDTH * HEIGHT * 4
    prepared = PreparedDataset(open_dataset(root, "train"), (64, 64), limit_bytes=2 * one_pair)
    counts: list[int] = []
    assert prepared.preload(counts.append) == {}
    assert counts == [1, 2, 3] and prepared.cached_bytes == 2 * one_pair
    assert prepared[0] is prepared[0] and prepared[2] is not prepared[2]


def test_preload_names_what_cannot_be_read(tmp_path: Path) -> None:
    root = write_paired_yolo(tmp_path / "data", {"train": ["a", "b"]})
    (root / "rgb" / "a.jpg").write_bytes(b"\xff\xd8 broken \xff\xd9")
    unreadable = PreparedDataset(open_dataset(root, "train"), (64, 64)).preload()
    assert list(unreadable) == ["data/a"] and "a.jpg" in unreadable["data/a"]


def test_sixteen_bit_folder_trains_like_any_other(tmp_path: Path) -> None:
    root = write_paired_yolo(tmp_path / "data", {"train": ["a"]})
    write_image(root / "thermal" / "a.png", channels=1, depth=np.uint16)
    dataset = open_dataset(root, "train")
    assert dataset[0].images["thermal"].dtype == np.uint16
    assert PreparedDataset(dataset, (64, 64))[0].images["thermal"].dtype == np.uint8
