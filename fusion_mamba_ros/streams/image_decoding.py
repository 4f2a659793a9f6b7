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
    """Raised if an image message cannot be decoded. The error message is one sentence."""


@dataclass(frozen=True, eq=False)
class Image:
    """A decoded image.

    ``pixels`` is (H, W, 3) uint8 in the order red, green, blue, or (H, W) uint8 or uint16 for one channel. It may be
    a read-only view of the message's data, and its rows may be padded.
    """

    pixels: Array

    @property
    def height(self) -> int:
        """Number of rows."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Number of columns."""
        return int(self.pixels.shape[1])

    def to_rgb(self) -> npt.NDArray[np.uint8]:
        """Return (H, W, 3) uint8 RGB. Repeats a single channel and divides 16-bit values by 256, as cv_bridge does."""
        if self.pixels.ndim == 3:
            return self.pixels
        return np.asarray(cv2.cvtColor(to_8_bit(self.pixels), cv2.COLOR_GRAY2RGB), np.uint8)

    def to_thermal(self) -> Array:
        """Return (H, W) uint8 or uint16. Converts three channels to luma (ITU-R BT.601)."""
        return self.pixels if self.pixels.ndim == 2 else np.asarray(cv2.cvtColor(self.pixels, cv2.COLOR_RGB2GRAY))


@dataclass(frozen=True)
class _Layout:
    """Memory layout of an encoding.

    ``convert`` converts the data to RGB or to one channel. It is None if no conversion is needed. ``rows`` is the
    number of data rows per two image rows: 3 if a chroma plane of half height lies below the luma plane, 4 if one of
    full height does.
    """

    channels: int
    bits: int = 8
    rows: int = 2
    convert: Callable[[Array], Array] | None = None


def _colour(code: int) -> Callable[[Array], Array]:
    return lambda pixels: to_8_bit(np.asarray(cv2.cvtColor(pixels, code)))


def to_8_bit(pixels: Array) -> Array:
    """Divide 16-bit values by 256. Return 8-bit values unchanged."""
    return pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)


def _nv16_to_rgb(planes: Array) -> Array:
    """Convert NV16 to RGB through YUYV: interleave its luma and chroma plane, because OpenCV has no NV16."""
    height = planes.shape[0] // 2
    return np.asarray(
        cv2.cvtColor(
            np.stack([planes[:height], planes[height:]], axis=-1),
            cv2.COLOR_YUV2RGB_YUYV,
        )
    )


# `8UC3` and `8UC4` do not define the channel order. Read them as BGR and BGRA, as OpenCV and rviz do.
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
    """Raise `ImageDecodingError` if the fields of a `sensor_msgs/Image` are inconsistent. Does not read pixels."""
    _checked(height, width, encoding, step, data)


def decode_image(*, height: int, width: int, encoding: str, step: int, is_bigendian: bool, data: Any) -> Image:
    """Return the image in the fields of a `sensor_msgs/Image`.

    ``data`` is any object with a buffer of bytes: ``array.array``, ``bytes``, ``memoryview`` or a numpy array. Rows are
    ``step`` bytes apart. 16-bit values have the byte order that ``is_bigendian`` gives. The result for `rgb8` and for
    one-channel encodings in this machine's byte order is a view of ``data`` without a copy. Raises
    `ImageDecodingError` if the fields are inconsistent.
    """
    layout, buffer, rows = _checked(height, width, encoding, step, data)
    return Image(_decode(buffer, layout, rows, width, step, is_bigendian))


def _checked(height: int, width: int, encoding: str, step: int, data: Any) -> tuple[_Layout, Array, int]:
    """Check the fields. Return the layout, the bytes and the number of data rows of the image."""
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
    # Copy to aligned memory: OpenCV rejects 16-bit rows that start at odd addresses.
    if not (dtype.isnative and pixels.flags.aligned):
        pixels = pixels.astype(dtype.newbyteorder("="))
    return pixels if layout.convert is None else layout.convert(pixels)


def as_bytes(data: Any) -> Array:
    """Return a (n,) uint8 view of any buffer. Raise `ImageDecodingError` if ``data`` is not a buffer."""
    try:
        return np.frombuffer(data, np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        if isinstance(data, (bytes, bytearray, memoryview)) and len(data) == 0:
            return np.empty(0, np.uint8)
        raise ImageDecodingError(f"image data of type {type(data).__name__} is no buffer of bytes: {error}") from error
