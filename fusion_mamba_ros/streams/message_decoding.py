# SPDX-License-Identifier: Apache-2.0
"""Decode image messages from a live topic or a bag."""

from __future__ import annotations

import warnings
from typing import Any

from fusion_mamba_ros.streams.compressed_image_decoding import decode_compressed_image
from fusion_mamba_ros.streams.image_decoding import Image, decode_image


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


def __getattr__(name: str) -> Any:
    if name == "picture_of":
        warnings.warn("picture_of is deprecated: use image_of", DeprecationWarning, stacklevel=2)
        return image_of
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
