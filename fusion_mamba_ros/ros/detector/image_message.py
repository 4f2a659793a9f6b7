# SPDX-License-Identifier: Apache-2.0
"""Inspect image messages before they are decoded."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as ImageMessage

from fusion_mamba_ros.streams.compressed_image_decoding import check_compressed_image
from fusion_mamba_ros.streams.image_decoding import ImageDecodingError, check_image, decode_image

_VIEWABLE = ("rgb8", "mono8", "mono16", "8UC1", "16UC1")
_SAME_GREEN = {"bgr8": "rgb8", "8UC3": "rgb8"}


def fault_of(message: ImageMessage | CompressedImage) -> str | None:
    """Return why a message is not a valid image, or None.

    Only the fields of the message, and the two ends of a compressed file, are checked.
    """
    try:
        if isinstance(message, CompressedImage):
            check_compressed_image(message.data, message.format)
        else:
            check_image(
                height=message.height,
                width=message.width,
                encoding=message.encoding,
                step=message.step,
                data=message.data,
            )
    except ImageDecodingError as error:
        return str(error)
    return None


def rows_of(message: ImageMessage | CompressedImage) -> npt.NDArray[np.uint8]:
    """Return a view of the bytes of a message, for comparison with another message.

    The shape is (rows, step) for a raw image and (1, n) for a compressed one. The message must have no fault.
    """
    data = np.frombuffer(message.data, np.uint8)
    if isinstance(message, CompressedImage):
        return data.reshape(1, -1)
    rows = len(data) // message.step
    return data[: rows * message.step].reshape(rows, message.step)


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
