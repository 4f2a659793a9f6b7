# SPDX-License-Identifier: Apache-2.0
"""Warp the image of another modality to the view of the RGB camera, by a homography in normalised coordinates."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.perception.documents import parse_yaml
from fusion_mamba_ros.perception.letterbox import PADDING_LEVEL, Letterbox, Size
from fusion_mamba_ros.perception.modality import modality_named

Homography = npt.NDArray[np.floating[Any]]
# Modality name to the homography from its image to the RGB image. A modality without an entry is aligned.
Homographies = Mapping[str, Homography]


def homography_from(values: Sequence[Any] | npt.NDArray[Any]) -> Homography:
    """Return the 3x3 homography from thermal to RGB in normalised coordinates.

    ``values`` are nine numbers by rows, or three rows. The result is scaled so that its last number is 1. Raises
    ``ValueError`` if there are not nine finite numbers, or if the homography would mirror the thermal image, turn it
    inside out or map part of it to infinity.
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
            f"homography {matrix.ravel().tolist()} maps part of the thermal image to infinity or mirrors it: "
            "estimate it with 'fusion-mamba register'"
        )
    scaled: Homography = matrix / matrix[2, 2]
    return scaled


def is_identity(homography: Homography) -> bool:
    """Return whether the homography is the identity: the cameras are aligned and a plain resize is enough."""
    return bool(np.allclose(homography, np.eye(3), atol=1e-9))


def map_points(homography: Homography, points: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return ``points`` (n, 2) mapped by ``homography``."""
    mapped = np.column_stack([np.asarray(points, np.float64), np.ones(len(points))]) @ homography.T
    return mapped[:, :2] / mapped[:, 2:]


def homographies_from(values: Any) -> dict[str, Homography]:
    """Return homographies by modality.

    ``values`` is a mapping, or the homography of thermal alone (nine numbers), or None for no homographies. Raises
    ``ValueError`` as :func:`homography_from` does, and for a modality that cannot have a homography.
    """
    if values is None:
        return {}
    values = by_modality(values)
    for name in values:
        if not modality_named(name).registered:
            raise ValueError(f"a homography is given for {name}: its image is aligned with the reference by definition")
    return {name: homography_from(matrix) for name, matrix in values.items()}


def by_modality(homography: Homography | Homographies) -> Homographies:
    """Return a mapping unchanged. Return a single homography as the mapping of thermal."""
    return homography if isinstance(homography, Mapping) else {"thermal": homography}


def relative_homographies(reference: str, homographies: Homographies, names: Iterable[str]) -> dict[str, Homography]:
    """Return the homographies from the images of ``names`` to the image of ``reference``. Aligned ones are absent."""
    others = (name for name in names if name != reference)
    return {
        name: relative_homography(name, reference, homographies)
        for name in others
        if name in homographies or reference in homographies
    }


def relative_homography(name: str, reference: str, homographies: Homographies) -> Homography:
    """Return the homography from the image of modality ``name`` to that of modality ``reference``."""
    if name == reference:
        return np.eye(3)
    homography = homographies.get(name, np.eye(3))
    if reference not in homographies:
        return homography
    return np.asarray(np.linalg.inv(homographies[reference]) @ homography)


def place_registered(
    image: npt.NDArray[np.uint8], homography: Homography, letterbox: Letterbox
) -> npt.NDArray[np.uint8]:
    """Return the canvas (H, W) or (H, W, C) with the image warped to the view of the reference camera.

    The padding, and the area that the image does not cover, have the padding level. At most one warp is computed.
    """
    if is_identity(homography):
        return letterbox.place(image)
    canvas = _warp(image, letterbox.canvas_from_normalised() @ homography, letterbox.canvas_size)
    (left, top), (inner_width, inner_height) = letterbox.offset, letterbox.inner_size
    canvas[:top] = canvas[top + inner_height :] = PADDING_LEVEL
    canvas[:, :left] = canvas[:, left + inner_width :] = PADDING_LEVEL
    return canvas


def warp_to_rgb_view(image: npt.NDArray[np.uint8], homography: Homography, size: Size) -> npt.NDArray[np.uint8]:
    """Return the image (h, w) or (h, w, C) as an RGB camera of ``size`` (width, height) would see it."""
    if is_identity(homography):
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    return _warp(image, np.diag([size[0], size[1], 1.0]) @ homography, size)


def _warp(
    image: npt.NDArray[np.uint8], target_from_normalised: npt.NDArray[np.float64], size: Size
) -> npt.NDArray[np.uint8]:
    height, width = image.shape[:2]
    matrix = target_from_normalised @ np.diag([1.0 / width, 1.0 / height, 1.0])
    # OpenCV's coordinates start at pixel centres, ours at pixel corners.
    half = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])
    warped = cv2.warpPerspective(
        image,
        np.linalg.inv(half) @ matrix @ half,
        size,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(PADDING_LEVEL,) * 4,
    )
    return np.asarray(warped, np.uint8)


def read_homography(path: str | os.PathLike[str]) -> Homography:
    """Return the homography of a YAML file that 'fusion-mamba register' wrote (a ROS parameter file).

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
