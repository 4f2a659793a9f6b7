# SPDX-License-Identifier: Apache-2.0
"""Decode camera images from the fields of `sensor_msgs/Image`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.streams.message_text import quoted

Array = npt.NDArray[Any]


class ImageDecodingError(ValueError):
    """An image message that cannot be decoded; the message is one sentence."""


@dataclass(frozen=True, eq=False)
class Image:
    """A decoded picture.

    ``pixels`` is (H, W, 3) uint8 in the order red, green, blue, or (H, W) uint8 or uint16 for one channel. It may be
    a read-only view of the message's data with padded rows.
    """

    pixels: Array

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.pixels.shape[1])

    def to_rgb(self) -> npt.NDArray[np.uint8]:
        """Return (H, W, 3) uint8 RGB; one channel is repeated, 16 bits are divided by 256 as cv_bridge does."""
        if self.pixels.ndim == 3:
            return self.pixels
        return np.asarray(cv2.cvtColor(to_8_bit(self.pixels), cv2.COLOR_GRAY2RGB), np.uint8)

    def to_thermal(self) -> Array:
        """Return (H, W) uint8 or uint16; three channels are read by their luma (ITU-R BT.601)."""
        return self.pixels if self.pixels.ndim == 2 else np.asarray(cv2.cvtColor(self.pixels, cv2.COLOR_RGB2GRAY))


@dataclass(frozen=True)
class _Layout:
    """How an encoding lies in memory, and how it becomes RGB or one channel (None: it is that already).

    ``rows`` is the number of data rows for each two image rows: 3 for a half-height chroma plane below the picture.
    """

    channels: int
    bits: int = 8
    rows: int = 2
    convert: Callable[[Array], Array] | None = None


def _colour(code: int) -> Callable[[Array], Array]:
    return lambda pixels: to_8_bit(np.asarray(cv2.cvtColor(pixels, code)))


def to_8_bit(pixels: Array) -> Array:
    """Return 16 bits divided by 256, 8 bits as they are."""
    return pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)


def _nv16_to_rgb(planes: Array) -> Array:
    """Weave the luma plane and the chroma plane of NV16 into YUYV, which OpenCV knows."""
    height = planes.shape[0] // 2
    return np.asarray(
        cv2.cvtColor(
            np.stack([planes[:height], planes[height:]], axis=-1),
            cv2.COLOR_YUV2RGB_YUYV,
        )
    )


# `8UC3` and `8UC4` name no colours; like OpenCV and rviz we take them for BGR and BGRA.
_LAYOUTS: dict[str, _Layout] = {
    "rgb8": _Layout(3),
    "bgr8": _Layout(3, convert=_colour(cv2.COLOR_BGR2RGB)),
    "rgba8": _Layout(4, convert=_colour(cv2.COLOR_RGBA2RGB)),
    "bgra8": _Layout(4, convert=_colour(cv2.COLOR_BGRA2RGB)),
    "rgb16": _Layout(3, 16, convert=to_8_bit),
    "bgr16": _Layout(3, 16, convert=_colour(cv2.COLOR_BGR2RGB)),
    "mono8": _Layout(1),
    "mono16": _Layout(1, 16),
    "8UC1": _Layout(1),
    "8UC3": _Layout(3, convert=_colour(cv2.COLOR_BGR2RGB)),
    "8UC4": _Layout(4, convert=_colour(cv2.COLOR_BGRA2RGB)),
    "16UC1": _Layout(1, 16),
    "bayer_rggb8": _Layout(1, convert=_colour(cv2.COLOR_BayerRGGB2RGB)),
    "bayer_bggr8": _Layout(1, convert=_colour(cv2.COLOR_BayerBGGR2RGB)),
    "bayer_gbrg8": _Layout(1, convert=_colour(cv2.COLOR_BayerGBRG2RGB)),
    "bayer_grbg8": _Layout(1, convert=_colour(cv2.COLOR_BayerGRBG2RGB)),
    "bayer_rggb16": _Layout(1, 16, convert=_colour(cv2.COLOR_BayerRGGB2RGB)),
    "bayer_bggr16": _Layout(1, 16, convert=_colour(cv2.COLOR_BayerBGGR2RGB)),
    "bayer_gbrg16": _Layout(1, 16, convert=_colour(cv2.COLOR_BayerGBRG2RGB)),
    "bayer_grbg16": _Layout(1, 16, convert=_colour(cv2.COLOR_BayerGRBG2RGB)),
    "yuv422": _Layout(2, convert=_colour(cv2.COLOR_YUV2RGB_UYVY)),
    "uyvy": _Layout(2, convert=_colour(cv2.COLOR_YUV2RGB_UYVY)),
    "yuv422_yuy2": _Layout(2, convert=_colour(cv2.COLOR_YUV2RGB_YUYV)),
    "yuyv": _Layout(2, convert=_colour(cv2.COLOR_YUV2RGB_YUYV)),
    "nv12": _Layout(1, rows=3, convert=_colour(cv2.COLOR_YUV2RGB_NV12)),
    "nv21": _Layout(1, rows=3, convert=_colour(cv2.COLOR_YUV2RGB_NV21)),
    "nv16": _Layout(1, rows=4, convert=_nv16_to_rgb),
}

ENCODINGS = tuple(_LAYOUTS)


def check_image(*, height: int, width: int, encoding: str, step: int, data: Any) -> None:
    """Raise `ImageDecodingError` if the fields of a `sensor_msgs/Image` cannot be a picture. Reads no pixel."""
    _checked(height, width, encoding, step, data)


def decode_image(*, height: int, width: int, encoding: str, step: int, is_bigendian: bool, data: Any) -> Image:
    """Return the picture in the fields of a `sensor_msgs/Image`.

    ``data`` is anything with a buffer of bytes: ``array.array``, ``bytes``, ``memoryview``, numpy. Rows are ``step``
    bytes apart, 16-bit values in the byte order of ``is_bigendian``. `rgb8` and one-channel encodings in this machine's
    byte order give a view of ``data``, without a copy. Raises `ImageDecodingError`.
    """
    layout, buffer, rows = _checked(height, width, encoding, step, data)
    return Image(_decode(buffer, layout, rows, width, step, is_bigendian))


def _checked(height: int, width: int, encoding: str, step: int, data: Any) -> tuple[_Layout, Array, int]:
    """Return the layout, the bytes and the number of data rows of an image that is whole."""
    layout = _LAYOUTS.get(encoding)
    if layout is None:
        raise ImageDecodingError(
            f"image encoding {quoted(encoding)} is not supported: use one of {', '.join(ENCODINGS)}"
        )
    if height <= 0 or width <= 0:
        raise ImageDecodingError(f"image is {width}x{height}: width and height must be positive")
    chroma = layout.channels == 2 or layout.rows > 2
    if (chroma and width % 2) or (layout.rows == 3 and height % 2):
        raise ImageDecodingError(f"image of encoding '{encoding}' is {width}x{height}: chroma planes need even sizes")
    row_bytes = width * layout.channels * layout.bits // 8
    if step < row_bytes:
        raise ImageDecodingError(
            f"image step is {step} bytes: a row of {width} pixels in '{encoding}' takes at least {row_bytes}"
        )
    buffer = as_bytes(data)
    rows = height * layout.rows // 2
    needed = step * (rows - 1) + row_bytes
    if len(buffer) < needed:
        raise ImageDecodingError(
            f"image data is cut short: {len(buffer)} bytes, but {width}x{height} in '{encoding}' with step {step} "
            f"takes {needed}"
        )
    return layout, buffer, rows


def _decode(buffer: Array, layout: _Layout, rows: int, width: int, step: int, is_bigendian: bool) -> Array:
    item = layout.bits // 8
    dtype = np.dtype(np.uint8) if item == 1 else np.dtype(">u2" if is_bigendian else "<u2")
    if layout.channels == 1:
        pixels: Array = np.ndarray((rows, width), dtype, buffer, strides=(step, item))
    else:
        shape = (rows, width, layout.channels)
        pixels = np.ndarray(shape, dtype, buffer, strides=(step, layout.channels * item, item))
    # OpenCV refuses 16-bit rows that start at odd bytes.
    if not (dtype.isnative and pixels.flags.aligned):
        pixels = pixels.astype(dtype.newbyteorder("="))
    return pixels if layout.convert is None else layout.convert(pixels)


def as_bytes(data: Any) -> Array:
    """Return a view (n,) uint8 of any buffer, or raise `ImageDecodingError`."""
    try:
        return np.frombuffer(data, np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        if isinstance(data, (bytes, bytearray, memoryview)) and len(data) == 0:
            return np.empty(0, np.uint8)
        raise ImageDecodingError(f"image data of type {type(data).__name__} is no buffer of bytes: {error}") from error
