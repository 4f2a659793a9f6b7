# SPDX-License-Identifier: Apache-2.0
"""Convert images for display; the original implements these functions in C++."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from .encodings import CvBridgeError, Encoding, convert

_DISPLAYED_AS = {1: "mono", 3: "bgr", 4: "bgra"}
# OpenCV's hue has 180 steps. Consecutive labels are this many steps apart (the golden section of 180), so that their
# colours differ.
_HUE_STEP = 111


def getCvType(encoding: str) -> int:
    """Return the OpenCV type of an encoding, for example 16 (``CV_8UC3``) for ``bgr8``.

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

    Unlike ``imgmsg_to_cv2`` this function treats encodings without colour (``16UC1``, ``8UC3``) as mono, BGR or BGRA.
    A one-channel image can be scaled to 8 bits first. With ``do_dynamic_scaling`` the range is the image's own minimum
    and maximum; otherwise it is ``min_image_value`` to ``max_image_value`` if these differ. NaN becomes black. Without
    scaling, labels (``32SC1``) get one colour each in ``bgr8``.
    Raises ``RuntimeError`` if the image cannot be displayed in this encoding.
    """
    try:
        encoding = Encoding.of(encoding_in)
        target = Encoding.of(encoding_out or "bgr8")
        if not encoding.holds(Encoding.of_array(source)):
            raise CvBridgeError(
                f"encoding [{encoding_in}] does not match an array of type {source.dtype} and shape {source.shape}"
            )
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
    colours: np.ndarray[Any, Any] = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    return colours


def _as_colour(encoding: Encoding) -> Encoding:
    if encoding.colour:
        return encoding
    name = _DISPLAYED_AS.get(encoding.channels)
    if name is None or encoding.dtype not in (np.uint8, np.uint16):
        raise CvBridgeError(
            f"[{encoding.name}] cannot be displayed without scaling: expected 8 or 16 bits and 1, 3 or 4 channels"
        )
    return Encoding.of(f"{name}{encoding.dtype.itemsize * 8}")
