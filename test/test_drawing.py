# SPDX-License-Identifier: Apache-2.0
"""Drawing of boxes on one image and on pairs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fusion_mamba_ros.perception.detections import Detections, Mode
from fusion_mamba_ros.perception.drawing import PALETTE, banner, contact_sheet, draw_boxes, draw_pair

NAMES = ("person", "car")


def detections(*boxes: list[int], mode: Mode = Mode.FUSED) -> Detections:
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.linspace(0.9, 0.3, count).astype(np.float32),
        np.arange(count, dtype=np.int64) % 2,
        mode,
    )


def has_colour(image: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((image == np.array(colour)).all(axis=-1).any())


def test_boxes_are_drawn_on_a_copy_where_they_are() -> None:
    image = np.full((240, 320, 3), 90, np.uint8)
    drawn = draw_boxes(image, detections([100, 80, 200, 160]), NAMES)
    assert (image == 90).all()
    assert drawn[120, 100].tolist() == list(PALETTE[0])
    assert drawn[159, 150].tolist() == list(PALETTE[0])
    assert (drawn[100:140, 120:180] == 90).all()
    assert (drawn[200:] == 90).all()


def test_each_class_has_its_colour_beyond_the_named_ones_too() -> None:
    drawn = draw_boxes(np.zeros((240, 320, 3), np.uint8), detections([20, 40, 90, 100], [150, 40, 250, 100]), NAMES[:1])
    assert has_colour(drawn, PALETTE[0])
    assert has_colour(drawn, PALETTE[1])


@pytest.mark.parametrize("box", [[0, 0, 320, 240], [0, 0, 1, 1], [319, 239, 320, 240], [0, 100, 3, 240]])
@pytest.mark.parametrize("size", [(240, 320), (24, 32), (5, 3)])
def test_boxes_at_the_edge_and_images_smaller_than_a_letter_are_drawn(box: list[int], size: tuple[int, int]) -> None:
    image = np.zeros((*size, 3), np.uint8)
    assert draw_boxes(image, detections(box), NAMES).shape == image.shape


def test_pair_shows_both_cameras_with_the_boxes_on_both() -> None:
    rgb = np.full((240, 320, 3), (10, 40, 90), np.uint8)
    thermal = np.full((120, 160), 77, np.uint8)
    drawn = draw_pair(rgb, thermal, detections([100, 80, 200, 160]), NAMES)
    top = drawn.shape[0] - 240
    assert top > 0
    left, right = drawn[top:, :320], drawn[top:, -320:]
    assert left[120, 150].tolist() == [10, 40, 90]
    assert right[120, 150].tolist() == [77, 77, 77]
    assert left[120, 100].tolist() == right[120, 100].tolist() == list(PALETTE[0])


def test_thermal_is_shown_where_the_homography_puts_it() -> None:
    rgb = np.zeros((200, 200, 3), np.uint8)
    thermal = np.full((50, 50), 250, np.uint8)
    homography = np.array([[0.5, 0, 0.5], [0, 0.5, 0.5], [0, 0, 1]])
    right = draw_pair(rgb, thermal, detections(), NAMES, homography=homography)[-200:, -200:]
    assert right[150, 150].tolist() == [250] * 3
    assert right[50, 50].tolist() != [250] * 3


@pytest.mark.parametrize("missing", ["rgb", "thermal"])
def test_missing_camera_is_a_panel_that_says_so(missing: str) -> None:
    rgb = np.full((240, 320, 3), 200, np.uint8)
    thermal = np.full((240, 320), 200, np.uint8)
    mode = Mode.THERMAL_ONLY if missing == "rgb" else Mode.RGB_ONLY
    drawn = draw_pair(
        None if missing == "rgb" else rgb, None if missing == "thermal" else thermal, detections(mode=mode), NAMES
    )
    panel = drawn[-240:, :320] if missing == "rgb" else drawn[-240:, -320:]
    assert panel.max() < 200
    assert len(np.unique(panel)) > 3


def test_thermal_alone_is_drawn_in_the_size_of_the_reference() -> None:
    thermal = np.full((120, 160), 77, np.uint8)
    drawn = draw_pair(None, thermal, detections([300, 200, 600, 400]), NAMES, reference_size=(640, 480))
    assert drawn.shape[0] > 480
    assert drawn[-240, -300].tolist() == [77] * 3


def test_thermal_that_never_had_a_reference_is_not_warped() -> None:
    thermal = np.full((120, 160), 77, np.uint8)
    aside = np.array([[0.5, 0, 0.5], [0, 1, 0], [0, 0, 1]])
    assert (draw_pair(None, thermal, detections(), NAMES, homography=aside)[-120:, -160:] == 77).all()


def test_no_image_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="no image to draw on"):
        draw_pair(None, None, detections(), NAMES)


def test_banner_differs_by_mode_and_fits_any_width() -> None:
    strips = [banner(500, detections(mode=mode)) for mode in Mode]
    assert len({strip.tobytes() for strip in strips}) == 3
    assert banner(40, detections(), "a caption far too long for this").shape[1] == 40
    assert banner(500, detections(), "caf\u00e9 \u2713").shape[1] == 500


@pytest.mark.parametrize("count,columns", [(1, 3), (3, 3), (4, 3), (7, 2)])
def test_contact_sheet_shows_every_image_in_reading_order(count: int, columns: int) -> None:
    images = [np.full((30 + 10 * (i % 2), 60, 3), 40 + 20 * i, np.uint8) for i in range(count)]
    sheet = contact_sheet(images, [str(i) for i in range(count)], columns=columns, tile_width=60)
    places = []
    for i, image in enumerate(images):
        rows, cols = np.nonzero((sheet == 40 + 20 * i).all(axis=-1))
        assert len(rows) >= image.shape[0] * image.shape[1]
        places.append((int(rows.min()), int(cols.min())))
    assert places == sorted(places)
    assert len({row for row, _ in places}) == -(-count // columns)


def test_contact_sheet_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([])


def test_the_tag_of_a_tracked_box_names_its_id() -> None:
    image = np.zeros((240, 320, 3), np.uint8)
    boxes = np.array([[50, 100, 70, 200]], np.float32)
    plain = Detections(boxes, np.array([0.9], np.float32), np.zeros(1, np.int64))
    drawings = [
        draw_boxes(image, replace(plain, track_ids=ids), ("person",))
        for ids in (None, np.array([0]), np.array([1]), np.array([123]))
    ]
    assert np.array_equal(drawings[0], drawings[1])
    assert not np.array_equal(drawings[0], drawings[2])
    # The tag grows to the right with the digits.
    assert (drawings[3] > 0).any(axis=(0, 2)).sum() > (drawings[2] > 0).any(axis=(0, 2)).sum()
