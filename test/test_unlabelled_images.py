# SPDX-License-Identifier: Apache-2.0
"""Lists of unlabelled images, and random crops of them."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from fusion_mamba_ros.datasets.problems import DatasetError
from fusion_mamba_ros.datasets.unlabelled_images import (
    UnlabelledImages,
    random_crop,
    read_image_list,
    read_unlabelled_images,
)
from fusion_mamba_ros.perception.modality import Modality, linear_levels, register_modality, unregister_modality
from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling


def write_images(folder: Path, count: int, *, size: tuple[int, int] = (80, 60), thermal: bool = False) -> Path:
    folder.mkdir(parents=True)
    for index in range(count):
        shape = (size[1], size[0]) if thermal else (size[1], size[0], 3)
        cv2.imwrite(str(folder / f"{index:03d}.png"), np.full(shape, 10 + index, np.uint8))
    return folder


def write_video(path: Path, frames: int) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for index in range(frames):
        writer.write(np.full((48, 64, 3), 10 * index, np.uint8))
    writer.release()
    return path


def test_folders_lists_and_videos_are_read_by_modality(tmp_path: Path) -> None:
    write_images(tmp_path / "rgb", 5)
    write_images(tmp_path / "thermal", 4, thermal=True)
    write_video(tmp_path / "video.avi", 7)
    (tmp_path / "some.txt").write_text("001\n003\n")
    path = tmp_path / "images.yaml"
    path.write_text("rgb: [{path: rgb, list: some.txt}, {path: video.avi, every: 3}]\nthermal: [thermal]\n")
    counts = []
    images = read_unlabelled_images(
        path,
        ("rgb", "thermal"),
        longest_side=40,
        scaling=ThermalScaling(),
        on_source=lambda name, source, count: counts.append((name, source.name, count)),
    )
    assert counts == [("rgb", "rgb", 2), ("rgb", "video.avi", 3), ("thermal", "thermal", 4)]
    assert [int(image[0, 0, 0]) for image in images["rgb"].sources[0]] == [11, 13]
    assert images["rgb"].sources[0][0].shape == (30, 40, 3)
    assert images["thermal"].sources[0][0].shape == (30, 40)
    assert images["rgb"].probabilities == [0.4, 0.6]


def test_images_of_a_further_modality_become_levels_as_its_entry_says(tmp_path: Path) -> None:
    (tmp_path / "depth").mkdir()
    millimetres = np.array([[0, 30_000], [60_000, 15_000]], np.uint16)
    cv2.imwrite(str(tmp_path / "depth" / "a.png"), millimetres)
    path = tmp_path / "images.yaml"
    path.write_text("depth: [depth]\n")
    register_modality(Modality("depth", to_levels=linear_levels("depth", 0, 60_000)))
    try:
        images = read_unlabelled_images(path, ("depth",), longest_side=40, scaling=ThermalScaling())
    finally:
        unregister_modality("depth")
    np.testing.assert_array_equal(images["depth"].sources[0][0], [[0, 128], [255, 64]])


def test_share_decides_how_often_a_source_is_drawn() -> None:
    few, many = [np.full((8, 8), 1, np.uint8)], [np.full((8, 8), 2, np.uint8)] * 99
    images = UnlabelledImages([few, many], [3.0, 1.0])
    generator = np.random.default_rng(0)
    drawn = [int(images.draw((4, 4), generator)[0, 0]) for _ in range(400)]
    assert 0.68 < drawn.count(1) / 400 < 0.82


@pytest.mark.parametrize("shape", [(60, 200), (200, 60), (64, 64), (20, 30), (61, 79, 3)])
def test_crop_lies_in_the_image_and_keeps_the_aspect(shape: tuple[int, ...]) -> None:
    # Each pixel holds its column, so a crop shows from where it is and how far it reaches.
    columns = np.broadcast_to(np.arange(shape[1], dtype=np.uint8).reshape(1, -1, *([1] * (len(shape) - 2))), shape)
    mirrored = 0
    for seed in range(50):
        crop = random_crop(np.ascontiguousarray(columns), (32, 16), np.random.default_rng(seed))
        assert crop.shape == (16, 32, *shape[2:])
        row = crop[0].reshape(32, -1)[:, 0].astype(int)
        steps = np.diff(row)
        assert (steps >= 0).all() or (steps <= 0).all()
        mirrored += steps.sum() < 0
    assert 10 < mirrored < 40


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rgb: 3", "is no mapping of modalities to lists"),
        ("rgb: [{folder: a}]", "give path and any of list, every, share"),
        ("rgb: [{path: rgb, every: 0}]", "has every: 0"),
        ("rgb: [{path: rgb, share: -1}]", "has share: -1"),
        ("rgb: [{path: rgb, share: .inf}]", "has share: inf"),
        ("rgb: [{path: rgb, list: absent.txt}]", "cannot be read"),
        ("rgb: [", "is not YAML"),
    ],
)
def test_bad_list_is_refused_with_one_sentence(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "images.yaml"
    path.write_text(text)
    with pytest.raises(DatasetError) as caught:
        read_image_list(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_modality_or_source_without_images_is_named(tmp_path: Path) -> None:
    write_images(tmp_path / "rgb", 1)
    (tmp_path / "none.txt").write_text("other\n")
    path = tmp_path / "images.yaml"
    path.write_text("rgb: [{path: rgb, list: none.txt}]\n")
    with pytest.raises(DatasetError, match="lists no images of thermal"):
        read_unlabelled_images(path, ("thermal",), longest_side=40, scaling=ThermalScaling())
    with pytest.raises(DatasetError, match="rgb' gave no image"):
        read_unlabelled_images(path, ("rgb",), longest_side=40, scaling=ThermalScaling())
