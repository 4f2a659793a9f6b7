# SPDX-License-Identifier: Apache-2.0
"""Boxes drawn into samples."""

from __future__ import annotations

import numpy as np
import pytest

from fusion_mamba_ros.datasets.sample_drawing import DrawnBox, draw_boxes


@pytest.mark.parametrize("name", ["\ud800", "\u00fc"], ids=ascii)
def test_class_name_outside_of_ascii_is_drawn_as_a_question_mark(name: str) -> None:
    # A lone surrogate is valid JSON, and OpenCV ends the process on it.
    images = [np.zeros((60, 80, 3), np.uint8) for _ in range(2)]
    for image, text in zip(images, (name, "?"), strict=True):
        draw_boxes(image, [DrawnBox(np.array([10, 30, 60, 50], np.float32), (255, 0, 0), text)])
    np.testing.assert_array_equal(images[0], images[1])
    assert images[0][15:28].any()
