# SPDX-License-Identifier: Apache-2.0
"""Image encodings of ``sensor_msgs/image_encodings.hpp``, and conversions between them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

_DEPTHS = {
    "8U": "uint8",
    "8S": "int8",
    "16U": "uint16",
    "16S": "int16",
    "32S": "int32",
    "32F": "float32",
    "64F": "float64",
}
_GENERIC = re.compile(r"(8U|8S|16U|16S|32S|32F|64F)C([1-9]\d*)?")

# Encoding -> (numpy type, channels, colour name in OpenCV's conversion codes).
_COLOURS = {
    **{
        f"{name}{bits}": (f"uint{bits}", channels, name.upper())
        for name, channels in (("rgb", 3), ("bgr", 3), ("rgba", 4), ("bgra", 4))
        for bits in (8, 16)
    },
    **{f"mono{bits}": (f"uint{bits}", 1, "GRAY") for bits in (8, 16)},
    # OpenCV names a Bayer pattern after the second and third pixel of the second row.
    **{
        f"bayer_{pattern}{bits}": (f"uint{bits}", 1, f"BAYER_{opencv}")
        for pattern, opencv in (("rggb", "BG"), ("bggr", "RG"), ("gbrg", "GR"), ("grbg", "GB"))
        for bits in (8, 16)
    },
    "yuv422": ("uint8", 2, "YUV_UYVY"),
    "uyvy": ("uint8", 2, "YUV_UYVY"),
    "yuv422_yuy2": ("uint8", 2, "YUV_YUY2"),
    "yuyv": ("uint8", 2, "YUV_YUY2"),
}


class CvBridgeError(TypeError):
    """Report an image or message that cannot be converted."""


@dataclass(frozen=True)
class Encoding:
    """One encoding: ``dtype`` and ``channels`` of its array; ``colour`` is empty for encodings without a colour."""

    name: str
    dtype: np.dtype[Any]
    channels: int
    colour: str

    @classmethod
    def of(cls, name: str) -> Encoding:
        """Return the encoding with this name. Raises ``CvBridgeError`` for an unknown name."""
        if name in _COLOURS:
            dtype, channels, colour = _COLOURS[name]
            return cls(name, np.dtype(dtype), channels, colour)
        generic = _GENERIC.fullmatch(name)
        if generic is None:
            raise CvBridgeError(f"Unrecognized image encoding [{name}]")
        return cls(name, np.dtype(_DEPTHS[generic[1]]), int(generic[2] or 1), "")

    @classmethod
    def of_array(cls, image: np.ndarray[Any, Any]) -> Encoding:
        """Return the generic encoding (such as ``8UC3``) of an array.

        Raises ``CvBridgeError`` for types that OpenCV does not have.
        """
        depth = next(
            (depth for depth, dtype in _DEPTHS.items() if image.dtype.newbyteorder("=") == np.dtype(dtype)), None
        )
        if depth is None or image.ndim not in (2, 3):
            raise CvBridgeError(f"no encoding for an array of {image.ndim} dimensions and type {image.dtype}")
        return cls.of(f"{depth}C{image.shape[2] if image.ndim == 3 else 1}")

    @property
    def cv_type(self) -> int:
        """OpenCV type: the depth in the lower three bits, the number of channels minus one in the bits above."""
        return list(_DEPTHS.values()).index(self.dtype.name) + ((self.channels - 1) << 3)

    def holds(self, array: Encoding) -> bool:
        """Return whether an array of the generic encoding ``array`` can hold an image of this encoding."""
        return (self.dtype, self.channels) == (array.dtype, array.channels)


def convert(image: np.ndarray[Any, Any], source: Encoding, target: Encoding) -> np.ndarray[Any, Any]:
    """Return ``image`` in another encoding.

    OpenCV converts the colours. The factor from 8 to 16 bits is 65535 / 255 = 257, and 1 / 257 from 16 to 8 bits.
    Raises ``CvBridgeError`` if there is no such conversion, for example from ``16UC1`` (no colour) to ``bgr8``.
    """
    if source == target:
        return image
    if not source.colour or not target.colour:
        if source.channels != target.channels or (target.colour and not source.colour):
            raise CvBridgeError(
                f"[{source.name}] cannot be converted to [{target.name}]: the number of channels differs, "
                "or only the target defines colours"
            )
        return _to_depth(image, target.dtype)
    if source.colour == target.colour:
        return _to_depth(image, target.dtype)
    code = _conversion_code(source.colour, target.colour)
    if code is not None:
        return _to_depth(cv2.cvtColor(np.ascontiguousarray(image), code), target.dtype)
    to_bgr, from_bgr = _conversion_code(source.colour, "BGR"), _conversion_code("BGR", target.colour)
    if to_bgr is None or from_bgr is None:
        raise CvBridgeError(f"[{source.name}] cannot be converted to [{target.name}]")
    return _to_depth(cv2.cvtColor(cv2.cvtColor(np.ascontiguousarray(image), to_bgr), from_bgr), target.dtype)


def _conversion_code(source: str, target: str) -> int | None:
    order = source.removeprefix("YUV_")
    name = f"COLOR_{source}2{target}" if order == source else f"COLOR_YUV2{target}_{order}"
    code: int | None = vars(cv2).get(name)
    return code


def _to_depth(image: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    if image.dtype == dtype:
        return image
    if not np.issubdtype(dtype, np.integer):
        return image.astype(dtype)
    scale = {("uint8", "uint16"): 257.0, ("uint16", "uint8"): 1 / 257.0}.get((image.dtype.name, dtype.name), 1.0)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(image * scale), limits.min, limits.max).astype(dtype)
