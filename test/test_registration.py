# SPDX-License-Identifier: Apache-2.0
"""Homographies: warping, checks, files and other reference modalities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fusion_mamba_ros.perception.letterbox import PADDING_LEVEL, Letterbox
from fusion_mamba_ros.perception.registration import (
    homography_from,
    map_points,
    place_registered,
    read_homography,
    relative_homographies,
)

SHIFTED = np.array([[0.8, 0.0, 0.1], [0.0, 0.9, 0.05], [0.0, 0.0, 1.0]])


def smooth_image(width: int, height: int) -> np.ndarray:
    x = (np.arange(width) + 0.5) / width
    y = (np.arange(height) + 0.5) / height
    return brightness(*np.meshgrid(x, y)).round().astype(np.uint8)


def brightness(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    level: np.ndarray = 128 + 60 * np.sin(5 * x + 1) + 50 * np.cos(4 * y)
    return level


def test_identity_is_a_plain_resize() -> None:
    image = smooth_image(160, 128)
    letterbox = Letterbox((640, 480), (320, 256))
    np.testing.assert_array_equal(place_registered(image, np.eye(3), letterbox), letterbox.place(image))


@pytest.mark.parametrize(
    "homography", [SHIFTED, np.array([[0.9, 0.05, 0.0], [-0.03, 0.85, 0.1], [0.05, -0.02, 1.0]]), np.eye(3) * 1.0000001]
)
def test_every_canvas_pixel_shows_what_the_inverse_mapping_says(homography: npt.NDArray[np.float64]) -> None:
    letterbox = Letterbox((640, 480), (320, 256))
    canvas = place_registered(smooth_image(400, 300), homography, letterbox)
    (left, top), (width, height) = letterbox.offset, letterbox.inner_size
    x, y = np.meshgrid((np.arange(320) + 0.5 - left) / width, (np.arange(256) + 0.5 - top) / height)
    source = map_points(np.linalg.inv(homography), np.column_stack([x.ravel(), y.ravel()]))
    expected = brightness(source[:, 0], source[:, 1]).reshape(256, 320)
    seen = ((source > 0.01) & (source < 0.99)).all(axis=1).reshape(256, 320)
    inside = (x > 0) & (x < 1) & (y > 0) & (y < 1)
    assert seen.any()
    assert np.abs(canvas[seen & inside] - expected[seen & inside]).max() <= 2
    unseen = ((source < -0.01) | (source > 1.01)).any(axis=1).reshape(256, 320)
    assert (canvas[unseen | ~inside] == PADDING_LEVEL).all()


def test_nine_numbers_or_three_rows_give_the_matrix_scaled_to_one() -> None:
    np.testing.assert_array_equal(homography_from((2 * SHIFTED).ravel().tolist()), SHIFTED)
    np.testing.assert_array_equal(homography_from(SHIFTED.tolist()), SHIFTED)


@pytest.mark.parametrize(
    "values",
    [
        [1, 2, 3],
        "identity",
        [[1, 0], [0, 1, 2]],
        [1, 0, 0, 0, 1, 0, 0, 0, float("nan")],
        [0] * 9,
        [1, 0, 0, 0, 0, 0, 0, 0, 1],
        [-1, 0, 1, 0, 1, 0, 0, 0, 1],
        [1, 0, 0, 0, 1, 0, -2, 0, 1],
    ],
)
def test_matrix_that_maps_no_image_is_refused(values: list[Any] | str) -> None:
    with pytest.raises(ValueError, match="homography"):
        homography_from(values)


@pytest.mark.parametrize(
    "text",
    [
        "/**:\n  ros__parameters:\n    registration:\n      homography: [1, 0, 0.1, 0, 1, 0, 0, 0, 1]\n",
        "node:\n  ros__parameters:\n    registration.homography: [1, 0, 0.1, 0, 1, 0, 0, 0, 1]\n",
    ],
)
def test_homography_is_read_from_a_ros_parameter_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "registration.yaml"
    file.write_text(text)
    np.testing.assert_array_equal(read_homography(file), [[1, 0, 0.1], [0, 1, 0], [0, 0, 1]])


def test_file_without_a_homography_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.yaml"
    file.write_text("a: 1\n")
    with pytest.raises(ValueError, match="has no 'registration: homography"):
        read_homography(file)
    with pytest.raises(ValueError, match="cannot be read"):
        read_homography(tmp_path / "nothing.yaml")
    file.write_text("a: [1\n")
    with pytest.raises(ValueError, match="cannot be read"):
        read_homography(file)


def test_homographies_relative_to_another_reference_lead_through_rgb() -> None:
    to_rgb = {
        "thermal": homography_from([0.8, 0.02, 0.15, 0, 0.9, 0.02, 0, 0.01, 1]),
        "radar": homography_from([0.7, 0, 0.1, 0.01, 0.8, 0.1, 0.02, 0, 1]),
    }
    points = np.array([[0.2, 0.3], [0.5, 0.9], [0.8, 0.1]])
    names = ("rgb", "thermal", "radar", "depth")
    to_thermal = relative_homographies("thermal", to_rgb, names)
    assert set(to_thermal) == {"rgb", "radar", "depth"}
    for name, homography in to_thermal.items():
        in_rgb = map_points(to_rgb["thermal"], map_points(homography, points))
        expected = map_points(to_rgb[name], points) if name in to_rgb else points
        np.testing.assert_allclose(in_rgb, expected, atol=1e-9)
    assert relative_homographies("rgb", to_rgb, names) == to_rgb
    assert relative_homographies("depth", {}, names) == {}
