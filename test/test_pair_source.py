# SPDX-License-Identifier: Apache-2.0
"""Image pairs of files, folders and videos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from fusion_mamba_ros.datasets.pair_source import PairSourceError, open_pairs
from fusion_mamba_ros.datasets.problems import DatasetError


def write_image(path: Path, level: int = 100, dtype: npt.DTypeLike = np.uint8) -> Path:
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), np.full((24, 32), level, dtype))
    return path


def write_video(path: Path, frames: int, rate: float = 30.0) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, (64, 48))
    for number in range(frames):
        writer.write(np.full((48, 64, 3), 20 * number, np.uint8))
    writer.release()
    return path


def test_two_images_are_one_pair_of_rgb_and_counts(tmp_path: Path) -> None:
    colour = np.zeros((10, 20, 3), np.uint8)
    colour[...] = (255, 0, 0)  # Blue for OpenCV.
    cv2.imwrite(str(tmp_path / "a.png"), colour)
    thermal = write_image(tmp_path / "b.png", 7000, np.uint16)
    source = open_pairs(tmp_path / "a.png", thermal)
    (pair,) = source
    assert (source.kind, source.count, pair.name) == ("image", 1, "a")
    assert pair.rgb is not None and pair.thermal is not None
    assert pair.rgb[0, 0].tolist() == [0, 0, 255]
    assert pair.thermal.dtype == np.uint16
    assert (pair.thermal == 7000).all()


def test_folders_are_paired_by_stem_and_the_lone_ones_named(tmp_path: Path) -> None:
    for name in ("f2", "f10", "only_rgb"):
        write_image(tmp_path / "rgb" / f"{name}.png")
    for name in ("f10", "f2", "only_thermal"):
        write_image(tmp_path / "thermal" / f"{name}.tif")
    source = open_pairs(tmp_path / "rgb", tmp_path / "thermal")
    assert [pair.name for pair in source] == ["f2", "f10"]
    assert source.count == 2
    notes = " ".join(source.notes)
    assert "1 rgb images have no partner and are left out: only_rgb" in notes
    assert "1 thermal images have no partner and are left out: only_thermal" in notes
    alone = {pair.name: pair for pair in open_pairs(tmp_path / "rgb", tmp_path / "thermal", continue_alone=True)}
    assert alone["only_rgb"].thermal is None
    assert alone["only_thermal"].rgb is None
    assert alone["f2"].rgb is not None and alone["f2"].thermal is not None


def test_unreadable_image_of_a_folder_is_left_out_and_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_image(tmp_path / "rgb" / f"{name}.png")
        write_image(tmp_path / "thermal" / f"{name}.png")
    (tmp_path / "thermal" / "b.png").write_bytes(b"no image")
    source = open_pairs(tmp_path / "rgb", tmp_path / "thermal")
    assert [pair.name for pair in source] == ["a"]
    assert any("left out" in note and "b.png" in note for note in source.notes)


def test_folder_of_nothing_but_unreadable_images_is_refused(tmp_path: Path) -> None:
    for camera in ("rgb", "thermal"):
        (tmp_path / camera).mkdir()
        (tmp_path / camera / "a.png").write_bytes(b"no image")
    with pytest.raises(PairSourceError, match="none of the 1 pairs could be read"):
        list(open_pairs(tmp_path / "rgb", tmp_path / "thermal"))


def test_videos_are_paired_frame_by_frame(tmp_path: Path) -> None:
    source = open_pairs(write_video(tmp_path / "a.mp4", 5), write_video(tmp_path / "b.mp4", 5))
    pairs: list[Any] = list(source)
    assert (source.kind, source.count, round(source.rate_hz)) == ("video", 5, 30)
    assert [pair.name for pair in pairs] == [f"{number:06d}" for number in range(5)]
    assert all(pair.rgb.shape == (48, 64, 3) and pair.thermal.shape == (48, 64) for pair in pairs)
    for pair in pairs:
        assert abs(float(pair.rgb.mean()) - float(pair.thermal.mean())) < 3
    assert source.notes == []


@pytest.mark.parametrize("rgb_frames,thermal_frames,shorter", [(6, 3, "thermal"), (3, 6, "rgb")])
def test_videos_of_unequal_length_stop_at_the_shorter_or_go_on_alone(
    tmp_path: Path, rgb_frames: int, thermal_frames: int, shorter: str
) -> None:
    rgb = write_video(tmp_path / "a.mp4", rgb_frames)
    thermal = write_video(tmp_path / "b.mp4", thermal_frames)
    source = open_pairs(rgb, thermal)
    assert len(list(source)) == source.count == 3
    assert any(f"{shorter} video" in note and "after 3 frames" in note and "stopped" in note for note in source.notes)
    source = open_pairs(rgb, thermal, continue_alone=True)
    pairs = list(source)
    assert len(pairs) == source.count == 6
    assert [getattr(pair, shorter) is None for pair in pairs] == [False] * 3 + [True] * 3
    assert len([note for note in source.notes if "continues alone" in note]) == 1


def test_videos_of_different_rates_are_paired_by_number_and_that_is_said(tmp_path: Path) -> None:
    source = open_pairs(write_video(tmp_path / "a.mp4", 3, 30), write_video(tmp_path / "b.mp4", 3, 9))
    assert len(list(source)) == 3
    assert any("30 frames per second, thermal 9" in note for note in source.notes)


def test_one_camera_alone_is_enough(tmp_path: Path) -> None:
    (pair,) = open_pairs(None, write_image(tmp_path / "a.png"))
    assert pair.rgb is None and pair.thermal is not None
    pairs = list(open_pairs(write_video(tmp_path / "a.mp4", 2), None))
    assert len(pairs) == 2 and all(pair.thermal is None for pair in pairs)
    write_image(tmp_path / "rgb" / "x.png")
    (pair,) = open_pairs(tmp_path / "rgb", None)
    assert pair.thermal is None


def test_what_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    image = write_image(tmp_path / "a.png")
    folder = tmp_path / "empty"
    folder.mkdir()
    broken_image = tmp_path / "broken.png"
    broken_image.write_bytes(b"no image")
    broken_video = tmp_path / "broken.mp4"
    broken_video.write_bytes(b"no video at all")
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    other = tmp_path / "other"
    write_image(other / "unlike.png")
    write_image(tmp_path / "mine" / "name.png")
    cases = [
        ((None, None), "no input"),
        ((tmp_path / "nothing.png", image), "rgb input .* does not exist"),
        ((image, text), "thermal input .* is neither"),
        ((image, folder), "is an image and thermal .* is a folder"),
        ((folder, folder), "rgb folder .* holds no image"),
        ((image, broken_image), "broken.png"),
        ((broken_video, broken_video), "broken.mp4"),
        ((tmp_path / "mine", other), "no file name in common"),
    ]
    for (rgb, thermal), message in cases:
        with pytest.raises(ValueError, match=message) as caught:
            list(open_pairs(rgb, thermal))
        assert "\n" not in str(caught.value)
    assert issubclass(PairSourceError, DatasetError)
