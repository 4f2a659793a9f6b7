# SPDX-License-Identifier: Apache-2.0
"""The fields of an image message, from a live topic or a bag, to a picture."""

from __future__ import annotations

from typing import Any

from fusion_mamba_ros.streams.compressed_image_decoding import decode_compressed_image
from fusion_mamba_ros.streams.image_decoding import Image, decode_image


def picture_of(message: Any) -> Image:
    """Return the picture of anything with the fields of `sensor_msgs/Image` or `CompressedImage`.

    Without a copy where none is needed. Raises `ImageDecodingError`.
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
