# SPDX-License-Identifier: Apache-2.0
"""Reading of image files: channel order, bit depth, damage and listing."""

from __future__ import annotations

from pathlib import Path

import cv2
import hostile_files
import numpy as np
import pytest
from paired_folders import HEIGHT, WIDTH, write_image

from fusion_mamba_ros.datasets.image_files import check_complete, list_images, read_rgb, read_thermal
from fusion_mamba_ros.datasets.problems import UnreadableImageError


def test_rgb_comes_in_rgb_order(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "red.png"), np.full((4, 6, 3), (0, 0, 255), np.uint8))
    image = read_rgb(tmp_path / "red.png")
    assert image.shape == (4, 6, 3) and image.dtype == np.uint8
    assert image[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bit_thermal_keeps_its_counts(tmp_path: Path, suffix: str) -> None:
    counts = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 21
    cv2.imwrite(str(tmp_path / f"t.{suffix}"), counts)
    thermal = read_thermal(tmp_path / f"t.{suffix}")
    assert thermal.dtype == np.uint16
    np.testing.assert_array_equal(thermal, counts)


def test_thermal_stored_as_colour_gives_one_channel(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "t.png"), cv2.merge([grey] * 3))
    np.testing.assert_array_equal(read_thermal(tmp_path / "t.png"), grey)


def test_floating_point_thermal_is_refused_with_its_type(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "t.tiff"), np.full((8, 8), 21.5, np.float32))
    with pytest.raises(UnreadableImageError, match=r"t\.tiff.*float32"):
        read_thermal(tmp_path / "t.tiff")


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.97])
def test_truncated_file_is_named_whether_decoded_or_only_checked(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"cut.{suffix}"
    write_image(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    for read in (read_rgb, read_thermal, check_complete):
        with pytest.raises(UnreadableImageError, match=r"cut"):
            read(path)


@pytest.mark.parametrize("content", [b"", b"GIF89a no image at all", b"\xff\xd8 garbage \xff\xd9"])
def test_file_that_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(UnreadableImageError, match=r"x.jpg"):
        read_rgb(tmp_path / "x.jpg")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match=r"gone.png"):
        read_rgb(tmp_path / "gone.png")
    with pytest.raises(UnreadableImageError, match=r"gone.png"):
        check_complete(tmp_path / "gone.png")


def test_jpeg_with_bytes_after_its_end_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "padded.jpg"
    write_image(path)
    path.write_bytes(path.read_bytes() + b"\0" * 512)
    check_complete(path)
    assert read_rgb(path).shape == (HEIGHT, WIDTH, 3)


def test_listing_goes_by_stem_and_skips_other_files(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.PNG", "b.jpeg", ".c.jpg", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    found = list_images(tmp_path)
    assert {stem: len(files) for stem, files in found.items()} == {"a": 2, "b": 1}


def test_a_damaged_jpeg_is_refused_by_name_and_the_decoder_prints_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = cv2.imencode(".jpg", image)[1].tobytes()
    path = tmp_path / "cut.jpg"
    path.write_bytes(data[: len(data) // 2] + b"\xff\xd9")
    for read in (read_rgb, read_thermal):
        with pytest.raises(UnreadableImageError, match=r"cut\.jpg' is damaged: Corrupt JPEG data"):
            read(path)
    assert capfd.readouterr().err == ""


def test_an_image_file_of_100_megapixels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(hostile_files.png(10_000, 10_000))
    with pytest.raises(UnreadableImageError, match=r"x\.png' is too large: 10000x10000"):
        read_rgb(path)
