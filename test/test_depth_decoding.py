# SPDX-License-Identifier: Apache-2.0
"""Depth in metres to millimetres."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fusion_mamba_ros.streams.depth_decoding import millimetres_of
from fusion_mamba_ros.streams.image_decoding import ImageDecodingError

METRES = np.array([[0.5, 1.25, np.nan], [np.inf, -np.inf, 60.0]], np.float32)


def message(metres: Any = METRES, *, order: str = "<", padding: int = 0, **changes: Any) -> SimpleNamespace:
    rows = [row.astype(f"{order}f4").tobytes() + b"\xff" * padding for row in metres]
    fields = {
        "height": metres.shape[0],
        "width": metres.shape[1],
        "encoding": "32FC1",
        "step": 4 * metres.shape[1] + padding,
        "is_bigendian": order == ">",
        "data": b"".join(rows),
    }
    return SimpleNamespace(**(fields | changes))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("padding", [0, 3, 4])
def test_metres_become_millimetres_in_any_byte_order_and_padding(order: str, padding: int) -> None:
    expected = [[500, 1250, np.nan], [np.inf, -np.inf, 60_000]]
    np.testing.assert_array_equal(millimetres_of(message(order=order, padding=padding)), expected)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"width": 0}, "image is 0x2: width and height must be positive"),
        ({"step": 11}, "image step is 11 bytes: a row of 3 pixels in '32FC1' takes at least 12"),
        ({"data": b"\0" * 23}, "image data is cut short: 23 bytes, but 3x2 in '32FC1' with step 12 takes 24"),
        ({"data": b""}, "image data is cut short: 0 bytes"),
    ],
)
def test_fields_that_are_no_image_are_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ImageDecodingError, match=sentence):
        millimetres_of(message(**changes))
