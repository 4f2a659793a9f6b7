# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np

from fusion_mamba_ros.datasets.sample import Sample
from fusion_mamba_ros.datasets.sample_drawing import draw_sample, draw_side_by_side
from fusion_mamba_ros.perception.drawing import PALETTE, DrawnBox, draw_tagged_boxes

BOXES = np.array([[80, 60, 240, 180]], np.float32)
LABELS = np.array([1], np.int64)


def pair() -> Sample:
    images = {"rgb": np.full((240, 320, 3), (10, 40, 90), np.uint8), "thermal": np.full((120, 160), 77, np.uint8)}
    return Sample("pair", images, BOXES, LABELS, "night")


def test_each_image_of_a_sample_is_scaled_and_shows_the_boxes() -> None:
    drawn = draw_sample(pair(), ("person", "car"), image_width_px=640)
    left, right = drawn[-480:, :640], drawn[-480:, -640:]
    assert drawn.shape[0] > 480
    assert left[240, 300].tolist() == [10, 40, 90]
    assert right[240, 300].tolist() == [77] * 3
    assert left[240, 160].tolist() == right[240, 160].tolist() == list(PALETTE[1])


def test_a_sample_is_drawn_as_detections_are() -> None:
    image = np.full((480, 640, 3), (10, 40, 90), np.uint8)
    boxes = [DrawnBox(2 * BOXES[0], (255, 60, 60), "person 0.40"), DrawnBox(2 * BOXES[0] + 9, (60, 200, 90))]
    small = [DrawnBox(item.box / 2, item.colour, item.text) for item in boxes]
    drawn = draw_side_by_side(pair(), small, "night")
    assert np.array_equal(drawn[-480:, :640], draw_tagged_boxes(image, boxes))


def test_a_sample_with_one_image_has_one_panel() -> None:
    sample = Sample("thermal", {"thermal": pair().images["thermal"]}, (BOXES / 2).astype(np.float32), LABELS)
    assert draw_sample(sample, ("person", "car"), image_width_px=320).shape[1] == 320


def test_the_caption_stands_above_the_images() -> None:
    drawn = [draw_side_by_side(pair(), [], caption) for caption in ("", "a caption", "caf\u00e9 \udcff")]
    strips = [image[:-480] for image in drawn]
    assert len({strip.tobytes() for strip in strips}) == 3
    assert all(np.array_equal(image[-480:], drawn[0][-480:]) for image in drawn)
