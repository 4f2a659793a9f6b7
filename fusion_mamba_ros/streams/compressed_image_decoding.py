# SPDX-License-Identifier: Apache-2.0
"""Decode camera images from the data of `sensor_msgs/CompressedImage`."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from fusion_mamba_ros.streams.decoder_output import lost_data, run_decoder
from fusion_mamba_ros.streams.image_decoding import Array, Image, ImageDecodingError, as_bytes, to_8_bit
from fusion_mamba_ros.streams.image_headers import JPEG_END, PNG_END, find_damage, is_jpeg, is_png, read_header
from fusion_mamba_ros.streams.message_text import quoted

# The end marker must lie within this many of the last bytes. Some cameras add padding after it.
TAIL_BYTES = 1024


def check_compressed_image(data: Any, format: str = "") -> None:
    """Raise `ImageDecodingError` if the ``data`` of a `sensor_msgs/CompressedImage` clearly cannot be decoded.

    The check rejects data that is empty, neither JPEG nor PNG, or cut short. It also rejects an image size that the
    file cannot hold or that exceeds the decoding limit. It reads only the start and the end of the file and takes
    microseconds for any file size. `decode_compressed_image` finds damage in between.
    """
    _visibly_whole(data, format)


def decode_compressed_image(data: Any, format: str = "") -> Image:
    """Return the image in the ``data`` of a `sensor_msgs/CompressedImage`.

    Supports JPEG and PNG (8 or 16 bit). The first bytes decide which of them it is; ``format`` only appears in the
    error message. Raises `ImageDecodingError` for an image of more than 64 megapixels, before memory is allocated.
    Also raises it for a file with a missing or damaged part, which OpenCV would fill with grey. The decoder's messages
    are not printed.
    """
    buffer, what = _visibly_whole(data, format)
    damage = find_damage(buffer.data)
    if damage is not None:
        raise ImageDecodingError(f"{what} {damage}")
    try:
        pixels, printed = run_decoder(lambda: cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED))
    except (cv2.error, MemoryError) as error:
        raise ImageDecodingError(f"{what} cannot be decoded: {getattr(error, 'err', 'out of memory')}") from error
    lost = lost_data(printed)
    if lost is not None:
        raise ImageDecodingError(f"{what} is damaged: {lost}")
    if pixels is None or pixels.dtype not in (np.uint8, np.uint16):
        raise ImageDecodingError(f"{what} cannot be decoded: it is no JPEG or PNG that OpenCV reads")
    if pixels.ndim == 2:
        return Image(pixels)
    code = cv2.COLOR_BGRA2RGB if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return Image(to_8_bit(cv2.cvtColor(pixels, code)))


def _visibly_whole(data: Any, format_name: str) -> tuple[Array, str]:
    """Check both ends of a file. Return its bytes and its description for error messages."""
    buffer = as_bytes(data)
    what = f"compressed image (format {quoted(format_name)}, {len(buffer)} bytes)"
    if len(buffer) == 0:
        raise ImageDecodingError(f"{what} is empty")
    tail = buffer[-TAIL_BYTES:].tobytes()
    if is_jpeg(buffer.data):
        if JPEG_END not in tail:
            raise ImageDecodingError(f"{what} is cut short: its end marker is missing")
    elif is_png(buffer.data):
        if PNG_END not in tail:
            raise ImageDecodingError(f"{what} is cut short: its last chunk is missing")
    else:
        raise ImageDecodingError(f"{what} cannot be decoded: it is neither JPEG nor PNG, publish one of these")
    header = read_header(buffer.data)
    fault = "is damaged: it names no size" if header is None else header.fault(len(buffer))
    if fault is not None:
        raise ImageDecodingError(f"{what} {fault}")
    return buffer, what
