# SPDX-License-Identifier: Apache-2.0
"""Inspect image messages before they are decoded."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as ImageMessage

from fusion_mamba_ros.streams.image_decoding import decode_image
from fusion_mamba_ros.streams.message_decoding import fault_of, rows_of

__all__ = ["fault_of", "motion_image", "rows_of"]

_VIEWABLE = ("rgb8", "mono8", "mono16", "8UC1", "16UC1")
_SAME_GREEN = {"bgr8": "rgb8", "8UC3": "rgb8"}


def motion_image(message: ImageMessage | CompressedImage) -> npt.NDArray[Any] | None:
    """Return a view of the pixels for motion estimation, or None if the message must be decoded first.

    The shape is (H, W) or (H, W, 3); green is channel 1. The message must have no fault.
    """
    if isinstance(message, CompressedImage):
        return None
    encoding = _SAME_GREEN.get(message.encoding, message.encoding)
    if encoding not in _VIEWABLE:
        return None
    return decode_image(
        height=message.height,
        width=message.width,
        encoding=encoding,
        step=message.step,
        is_bigendian=bool(message.is_bigendian),
        data=message.data,
    ).pixels
