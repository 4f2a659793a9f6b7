# SPDX-License-Identifier: Apache-2.0
"""Decode image messages from a live topic or a bag."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.streams.compressed_image_decoding import check_compressed_image, decode_compressed_image
from fusion_mamba_ros.streams.image_decoding import Image, ImageDecodingError, check_image, decode_image


def image_of(message: Any) -> Image:
    """Return the image of a message with the fields of `sensor_msgs/Image` or `CompressedImage`.

    The pixels are copied only if necessary. Raises `ImageDecodingError` if the message cannot be decoded.
    """
    if hasattr(message, "format"):
        return decode_compressed_image(message.data, message.format)
    return decode_image(
        height=message.height,
        width=message.width,
        encoding=message.encoding,
        step=message.step,
        is_bigendian=bool(message.is_bigendian),
        data=message.data,
    )


def fault_of(message: Any) -> str | None:
    """Return why a message is not a valid image, or None.

    Only the fields of the message, and the two ends of a compressed file, are checked.
    """
    try:
        if hasattr(message, "format"):
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


def rows_of(message: Any) -> npt.NDArray[np.uint8]:
    """Return a view of the bytes of an image message, for comparison with another message.

    The shape is (rows, step) for a raw image and (1, n) for a compressed one. The message must have no fault.
    """
    data = np.frombuffer(message.data, np.uint8)
    if hasattr(message, "format"):
        return data.reshape(1, -1)
    rows = len(data) // message.step
    return data[: rows * message.step].reshape(rows, message.step)


def __getattr__(name: str) -> Any:
    if name == "picture_of":
        warnings.warn("picture_of is deprecated: use image_of", DeprecationWarning, stacklevel=2)
        return image_of
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
