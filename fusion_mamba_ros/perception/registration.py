# SPDX-License-Identifier: Apache-2.0
"""The thermal picture brought to the RGB camera's view by a homography between normalised image coordinates."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.perception.documents import parse_yaml
from fusion_mamba_ros.perception.letterbox import PADDING_LEVEL, Letterbox, Size

Homography = npt.NDArray[np.floating[Any]]


def homography_from(values: Sequence[Any] | npt.NDArray[Any]) -> Homography:
    """Return a 3x3 homography, thermal to RGB in normalised coordinates, from nine numbers by rows or three rows.

    Scaled so that its last number is 1. Raises ``ValueError`` if there are not nine finite numbers, or if the thermal
    picture would be mirrored, turned inside out or mapped to infinity.
    """
    try:
        matrix = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"homography {values!r} is no list of numbers: give nine by rows") from error
    if matrix.size != 9 or not np.isfinite(matrix).all():
        raise ValueError(
            f"homography has {matrix.size} numbers {matrix.ravel().tolist()}: give nine finite ones by rows"
        )
    matrix = matrix.reshape(3, 3)
    corners = np.array([[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], np.float64) @ matrix.T
    if matrix[2, 2] <= 0 or (corners[:, 2] <= 1e-6).any() or np.linalg.det(matrix) <= 1e-9:
        raise ValueError(
            f"homography {matrix.ravel().tolist()} maps part of the thermal picture to infinity or mirrors it: "
            "estimate it with 'fusion-mamba register'"
        )
    return matrix / matrix[2, 2]


def is_identity(homography: Homography) -> bool:
    """Return whether the cameras are aligned, so that a plain resize does."""
    return bool(np.allclose(homography, np.eye(3), atol=1e-9))


def map_points(homography: Homography, points: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return points (n, 2) mapped by a homography."""
    mapped = np.column_stack([np.asarray(points, np.float64), np.ones(len(points))]) @ homography.T
    return mapped[:, :2] / mapped[:, 2:]


def place_thermal(
    thermal: npt.NDArray[np.uint8], homography: Homography, letterbox: Letterbox
) -> npt.NDArray[np.uint8]:
    """Return the canvas (H, W) with the thermal picture (h, w) where the RGB camera sees the same things.

    Padding, and what the thermal camera does not cover, is at the padding level. One warp at most.
    """
    if is_identity(homography):
        return letterbox.place(thermal)
    canvas = _warp(thermal, letterbox.canvas_from_normalised() @ homography, letterbox.canvas_size)
    (left, top), (inner_width, inner_height) = letterbox.offset, letterbox.inner_size
    canvas[:top] = canvas[top + inner_height :] = PADDING_LEVEL
    canvas[:, :left] = canvas[:, left + inner_width :] = PADDING_LEVEL
    return canvas


def warp_to_rgb_view(thermal: npt.NDArray[np.uint8], homography: Homography, size: Size) -> npt.NDArray[np.uint8]:
    """Return the thermal picture (h, w) as an RGB camera of ``size`` (width, height) would see it."""
    if is_identity(homography):
        return np.asarray(cv2.resize(thermal, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    return _warp(thermal, np.diag([size[0], size[1], 1.0]) @ homography, size)


def _warp(
    thermal: npt.NDArray[np.uint8], target_from_normalised: npt.NDArray[np.float64], size: Size
) -> npt.NDArray[np.uint8]:
    height, width = thermal.shape
    matrix = target_from_normalised @ np.diag([1.0 / width, 1.0 / height, 1.0])
    # OpenCV counts from pixel centres, our coordinates from pixel corners.
    half = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])
    warped = cv2.warpPerspective(
        thermal,
        np.linalg.inv(half) @ matrix @ half,
        size,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=PADDING_LEVEL,
    )
    return np.asarray(warped, np.uint8)


def read_homography(path: str | os.PathLike[str]) -> Homography:
    """Return the homography of a YAML file as 'fusion-mamba register' writes it (a ROS parameter file).

    Raises ``ValueError`` if there is no such file or no ``registration: homography:`` in it.
    """
    try:
        document = parse_yaml(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"registration file '{path}' cannot be read: {error}") from error
    found = _find_homography(document)
    if found is None:
        raise ValueError(f"registration file '{path}' has no 'registration: homography: [nine numbers]'")
    return homography_from(found)


def _find_homography(document: Any) -> Any:
    if not isinstance(document, dict):
        return None
    if "registration.homography" in document:
        return document["registration.homography"]
    registration = document.get("registration")
    if isinstance(registration, dict) and "homography" in registration:
        return registration["homography"]
    return next((found for value in document.values() if (found := _find_homography(value)) is not None), None)
