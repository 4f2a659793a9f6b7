# SPDX-License-Identifier: Apache-2.0
"""Decode camera images from the data of `sensor_msgs/CompressedImage`."""

from __future__ import annotations

import zlib
from typing import Any

import cv2
import numpy as np

from fusion_mamba_ros.streams.image_decoding import Array, Image, ImageDecodingError, as_bytes, to_8_bit
from fusion_mamba_ros.streams.message_text import quoted

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
PNG_SIGNATURE, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
# Cameras may pad a file; the end marker lies within so many of the last bytes.
TAIL_BYTES = 1024
# Neither deflate (1032:1) nor JPEG's shortest blocks pack pixels tighter; a damaged header may claim gigapixels.
PIXELS_PER_BYTE = 2000


def check_compressed_image(data: Any, format: str = "") -> None:
    """Raise `ImageDecodingError` if the ``data`` of a `sensor_msgs/CompressedImage` is visibly no whole file.

    That is: empty, cut short, or of a size that the file cannot hold. It looks at both ends only, in microseconds
    however large the file is; damage in between is found by `decode_compressed_image`.
    """
    _visibly_whole(data, format)


def decode_compressed_image(data: Any, format: str = "") -> Image:
    """Return the picture in the ``data`` of a `sensor_msgs/CompressedImage`.

    JPEG, PNG (8 or 16 bit) and whatever else OpenCV reads. ``format`` only serves the error message, since files say
    themselves what they are. Raises `ImageDecodingError`, also for a file that was cut short, which OpenCV would fill
    with grey, and for a PNG whose checksums are wrong.
    """
    buffer, what = _visibly_whole(data, format)
    if _is_png(buffer) and not _png_is_whole(buffer.data):
        raise ImageDecodingError(f"{what} is damaged: the checksums of its chunks are wrong")
    try:
        pixels = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageDecodingError(f"{what} cannot be decoded: {error.err}") from error
    if pixels is None or pixels.dtype not in (np.uint8, np.uint16):
        raise ImageDecodingError(f"{what} cannot be decoded: it is no JPEG or PNG that OpenCV reads")
    if pixels.ndim == 2:
        return Image(pixels)
    code = cv2.COLOR_BGRA2RGB if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return Image(to_8_bit(cv2.cvtColor(pixels, code)))


def _visibly_whole(data: Any, format_name: str) -> tuple[Array, str]:
    """Return the bytes of a file that is not visibly damaged, and how to name it in an error."""
    buffer = as_bytes(data)
    what = f"compressed image (format {quoted(format_name)}, {len(buffer)} bytes)"
    if len(buffer) == 0:
        raise ImageDecodingError(f"{what} is empty")
    width = height = 0
    if buffer[:2].tobytes() == JPEG_START:
        if JPEG_END not in buffer[-TAIL_BYTES:].tobytes():
            raise ImageDecodingError(f"{what} is cut short: its end marker is missing")
        width, height = _jpeg_size(buffer.data)
    elif _is_png(buffer):
        if PNG_END not in buffer[-TAIL_BYTES:].tobytes():
            raise ImageDecodingError(f"{what} is cut short: its last chunk is missing")
        width, height = (int.from_bytes(buffer[at : at + 4].tobytes(), "big") for at in (16, 20))
    if width * height > PIXELS_PER_BYTE * len(buffer):
        raise ImageDecodingError(f"{what} is damaged: it claims {width}x{height} pixels")
    return buffer, what


def _is_png(buffer: Array) -> bool:
    return buffer[: len(PNG_SIGNATURE)].tobytes() == PNG_SIGNATURE


def _jpeg_size(data: memoryview) -> tuple[int, int]:
    """Return width and height from the start of frame, (0, 0) without one (ITU-T T.81, B.1.1 and B.2.2)."""
    at = len(JPEG_START)
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        at += 1 if marker == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0, 0


def _png_is_whole(data: memoryview) -> bool:
    """Return whether every chunk up to IEND fits the file and its checksum (PNG specification, 5.3)."""
    at = len(PNG_SIGNATURE)
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data) or zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return False
        if bytes(data[at + 4 : at + 8]) == b"IEND":
            return True
        at = end + 4
    return False
