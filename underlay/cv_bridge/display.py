# SPDX-License-Identifier: Apache-2.0
"""Images for a screen: what the original brings as compiled functions of the module."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from .encodings import CvBridgeError, Encoding, convert

_DISPLAYED_AS = {1: "mono", 3: "bgr", 4: "bgra"}
# OpenCV's hue has 180 steps; consecutive labels lie this far apart (the golden section of them), so that they differ.
_HUE_STEP = 111


def getCvType(encoding: str) -> int:
    """Return OpenCV's type of an encoding: ``CV_8UC3``, which is 16, for ``bgr8``.

    Raises ``RuntimeError`` for an unknown encoding.
    """
    try:
        return Encoding.of(encoding).cv_type
    except CvBridgeError as error:
        raise RuntimeError(str(error)) from error


def cvtColorForDisplay(
    source: np.ndarray[Any, Any],
    encoding_in: str,
    encoding_out: str,
    do_dynamic_scaling: bool = False,
    min_image_value: float = 0.0,
    max_image_value: float = 0.0,
) -> np.ndarray[Any, Any]:
    """Return an image of ``encoding_in`` as ``encoding_out`` (``bgr8`` if empty), for display.

    Unlike ``imgmsg_to_cv2`` it takes numbers without colour (``16UC1``, ``8UC3``) for mono, BGR or BGRA. One channel is
    first scaled to 8 bits: between its own extremes with ``do_dynamic_scaling``, else between the two values if they
    differ; NaN becomes black. Labels (``32SC1``) that are not scaled get one colour each in ``bgr8``.
    Raises ``RuntimeError`` where an image cannot be displayed so.
    """
    try:
        encoding = Encoding.of(encoding_in)
        target = Encoding.of(encoding_out or "bgr8")
        if not encoding.holds(Encoding.of_array(source)):
            raise CvBridgeError(f"[{encoding_in}] is not the encoding of an array of type {source.dtype}")
        if do_dynamic_scaling:
            min_image_value, max_image_value = _finite_extremes(source)
        if do_dynamic_scaling or min_image_value != max_image_value:
            source, encoding = _scaled(source, encoding, min_image_value, max_image_value), Encoding.of("mono8")
        elif encoding.name in ("32SC1", "32SC") and target.name == "bgr8":
            return _label_colours(source)
        return convert(source, _as_colour(encoding), target)
    except CvBridgeError as error:
        raise RuntimeError(str(error)) from error


def _finite_extremes(image: np.ndarray[Any, Any]) -> tuple[float, float]:
    finite = image[np.isfinite(image)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _scaled(
    image: np.ndarray[Any, Any], encoding: Encoding, lowest: float, highest: float
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    if encoding.channels != 1:
        raise CvBridgeError(f"[{encoding.name}] has {encoding.channels} channels: only one channel can be scaled")
    if lowest == highest:
        return np.zeros(image.shape, np.uint8)
    grey = (image.astype(np.float64) - lowest) * (255.0 / (highest - lowest))
    return np.clip(np.rint(np.nan_to_num(grey, nan=0.0, posinf=255.0, neginf=0.0)), 0, 255).astype(np.uint8)


def _label_colours(labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    hsv = np.full((*labels.shape, 3), 255, np.uint8)
    hsv[..., 0] = (labels.astype(np.int64) * _HUE_STEP) % 180
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)


def _as_colour(encoding: Encoding) -> Encoding:
    if encoding.colour:
        return encoding
    name = _DISPLAYED_AS.get(encoding.channels)
    if name is None or encoding.dtype not in (np.uint8, np.uint16):
        raise CvBridgeError(
            f"[{encoding.name}] cannot be displayed without scaling: 8 or 16 bits of 1, 3 or 4 channels"
        )
    return Encoding.of(f"{name}{encoding.dtype.itemsize * 8}")
