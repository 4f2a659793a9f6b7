# SPDX-License-Identifier: Apache-2.0
"""Placement of images on the canvas and mapping of boxes in both directions."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion_mamba_ros.perception.letterbox import PADDING_LEVEL, Letterbox

sides = st.integers(1, 4000)
canvas_sides = st.integers(1, 40).map(lambda n: 32 * n)


@given(sides, sides, canvas_sides, canvas_sides)
def test_image_fills_the_canvas_in_one_direction_and_keeps_its_aspect(
    width: int, height: int, canvas_width: int, canvas_height: int
) -> None:
    letterbox = Letterbox((width, height), (canvas_width, canvas_height))
    scale = min(canvas_width / width, canvas_height / height)
    inner_width, inner_height = letterbox.inner_size
    left, top = letterbox.offset
    assert inner_width == canvas_width or inner_height == canvas_height
    assert abs(inner_width - max(1, width * scale)) <= 0.5
    assert abs(inner_height - max(1, height * scale)) <= 0.5
    # Centred to within the odd pixel.
    assert 0 <= canvas_width - inner_width - 2 * left <= 1
    assert 0 <= canvas_height - inner_height - 2 * top <= 1


@given(sides, sides, canvas_sides, canvas_sides, st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_boxes_go_in_and_come_back(
    width: int, height: int, canvas_width: int, canvas_height: int, fractions: list[float]
) -> None:
    letterbox = Letterbox((width, height), (canvas_width, canvas_height))
    x1, x2 = sorted(f * width for f in fractions[:2])
    y1, y2 = sorted(f * height for f in fractions[2:])
    box = np.array([[x1, y1, x2, y2]])
    np.testing.assert_allclose(
        letterbox.boxes_to_image(letterbox.boxes_to_canvas(box)), box, atol=2e-3 * max(box.max(), 1)
    )


def test_box_mapping_agrees_with_the_formula_written_out() -> None:
    # 1000x500 into 320x256: 0.32, so 320x160 with 48 rows above and below.
    letterbox = Letterbox((1000, 500), (320, 256))
    assert letterbox.inner_size == (320, 160)
    assert letterbox.offset == (0, 48)
    np.testing.assert_allclose(letterbox.boxes_to_canvas(np.array([[100, 50, 300, 450]])), [[32, 64, 96, 192]])
    np.testing.assert_allclose(letterbox.boxes_to_image(np.array([[32, 64, 96, 192]])), [[100, 50, 300, 450]])


def test_boxes_beyond_the_image_are_clipped_to_it() -> None:
    letterbox = Letterbox((1000, 500), (320, 256))
    np.testing.assert_array_equal(letterbox.boxes_to_image(np.array([[-50, 0, 500, 300]])), [[0, 0, 1000, 500]])


def test_normalised_corners_map_to_the_corners_of_the_inner_part() -> None:
    letterbox = Letterbox((640, 512), (320, 320))
    corners = letterbox.canvas_from_normalised() @ np.array([[0, 1], [0, 1], [1, 1]])
    np.testing.assert_allclose(corners[:2].T, [[0, 32], [320, 288]])


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (37, 91), (321, 255), (320, 256), (1, 1)])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_placed_image_is_opencvs_resize_between_padding(size: tuple[int, int], channels: tuple[int, ...]) -> None:
    seed = 5
    image = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], *channels), dtype=np.uint8)
    letterbox = Letterbox(size, (320, 256))
    canvas = letterbox.place(image)
    (left, top), (width, height) = letterbox.offset, letterbox.inner_size
    reduces = size[0] >= 2 * width or size[1] >= 2 * height
    inner = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if reduces else cv2.INTER_LINEAR)
    expected = cv2.copyMakeBorder(
        inner,
        top,
        256 - top - height,
        left,
        320 - left - width,
        cv2.BORDER_CONSTANT,
        value=(PADDING_LEVEL,) * 3,
    )
    np.testing.assert_array_equal(canvas, expected)


def test_a_corner_painted_in_the_image_lies_where_its_box_is_mapped() -> None:
    image = np.zeros((400, 700), np.uint8)
    image[100:300, 350:700] = 255
    letterbox = Letterbox((700, 400), (352, 224))
    x1, y1, x2, y2 = letterbox.boxes_to_canvas(np.array([[350, 100, 700, 300]]))[0]
    painted = letterbox.place(image)
    rows, columns = np.nonzero(painted == 255)
    np.testing.assert_allclose(
        [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], [x1, y1, x2, y2], atol=1.0
    )


def test_empty_image_and_odd_canvas_are_refused() -> None:
    with pytest.raises(ValueError, match="image is 0x10"):
        Letterbox((0, 10), (320, 256))
    with pytest.raises(ValueError, match="canvas is 300x256: expected multiples of 32"):
        Letterbox((10, 10), (300, 256))
