# SPDX-License-Identifier: Apache-2.0
"""Decode depth images in metres: `sensor_msgs/Image` with the encoding `32FC1` (REP 118)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.streams.image_decoding import ImageDecodingError, as_bytes

ENCODING = "32FC1"
_MILLIMETRES = np.float32(1000)


def check_metres(message: Any) -> None:
    """Raise `ImageDecodingError` if the fields of a `32FC1` message are inconsistent. Does not read pixels."""
    height, width, step = message.height, message.width, message.step
    if height <= 0 or width <= 0:
        raise ImageDecodingError(f"image is {width}x{height}: width and height must be positive")
    if step < 4 * width:
        raise ImageDecodingError(
            f"image step is {step} bytes: a row of {width} pixels in '{ENCODING}' takes at least {4 * width}"
        )
    size, needed = len(as_bytes(message.data)), step * (height - 1) + 4 * width
    if size < needed:
        raise ImageDecodingError(
            f"image data is cut short: {size} bytes, but {width}x{height} in '{ENCODING}' with step {step} "
            f"takes {needed}"
        )


def millimetres_of(message: Any) -> npt.NDArray[np.float32]:
    """Return a `32FC1` message, which is in metres, as (H, W) float32 in millimetres.

    Millimetres are the unit of 16-bit depth images. NaN (no measurement) and infinity (out of range) are kept. Raises
    `ImageDecodingError` if the message is malformed.
    """
    check_metres(message)
    dtype = np.dtype(">f4" if message.is_bigendian else "<f4")
    shape, strides = (message.height, message.width), (message.step, 4)
    metres: npt.NDArray[Any] = np.ndarray(shape, dtype, as_bytes(message.data), strides=strides)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(metres.astype(np.float32) * _MILLIMETRES)
