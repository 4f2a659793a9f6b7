# SPDX-License-Identifier: Apache-2.0
"""Transform the images and boxes of a pair: letterbox, zoom, shift, rotation, shear, flip, mosaic."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.datasets.augmentation_config import AugmentationConfig
from fusion_mamba_ros.perception.letterbox import Letterbox

Matrix = npt.NDArray[np.float64]  # (3, 3), in homogeneous pixel coordinates, where pixel i covers [i, i + 1)


def letterbox_matrix(image: tuple[int, int], size: tuple[int, int]) -> Matrix:
    """Return the letterbox matrix of an image (width, height) for the network ``size``, as used in inference."""
    return Letterbox(image, size).canvas_from_normalised() @ np.diag([1 / image[0], 1 / image[1], 1.0])


def mosaic_matrices(
    images: Sequence[tuple[int, int]], size: tuple[int, int], generator: np.random.Generator
) -> list[Matrix]:
    """Return the matrices that place four images (width, height) around a random point of the network image.

    The corners of the four images meet at this point. Each image has the size of its own letterbox. Together they cover
    up to twice the width and height of the network image.
    """
    centre = generator.uniform(0.0, 1.0, 2) * size
    matrices = []
    for (width, height), (right, below) in zip(images, ((0, 0), (1, 0), (0, 1), (1, 1)), strict=True):
        scale = min(size[0] / width, size[1] / height)
        left = centre[0] if right else centre[0] - scale * width
        top = centre[1] if below else centre[1] - scale * height
        matrices.append(np.array([[scale, 0, left], [0, scale, top], [0, 0, 1]]))
    return matrices


def random_affine(config: AugmentationConfig, size: tuple[int, int], generator: np.random.Generator) -> Matrix:
    """Return a random affine matrix about the image centre: zoom, rotation, shear, flip and shift."""
    zoom = generator.uniform(1 - config.scale, 1 + config.scale)
    angle = np.deg2rad(generator.uniform(-1, 1) * config.rotation_degrees)
    shear = np.tan(np.deg2rad(generator.uniform(-1, 1, 2) * config.shear_degrees))
    shift = generator.uniform(-1, 1, 2) * config.translate * size
    mirror = -1.0 if generator.random() < config.flip_probability else 1.0
    cosine, sine = np.cos(angle), np.sin(angle)
    linear = zoom * np.array([[1, shear[0]], [shear[1], 1]]) @ np.array([[cosine, -sine], [sine, cosine]])
    return about_centre(linear @ np.diag([mirror, 1.0]), shift, size)


def random_misalignment(config: AugmentationConfig, size: tuple[int, int], generator: np.random.Generator) -> Matrix:
    """Return a random matrix that simulates a small thermal-to-RGB calibration error, in network pixels."""
    zoom = 1 + generator.uniform(-1, 1) * config.misalignment_scale
    degrees = generator.uniform(-1, 1) * config.misalignment_degrees
    shift = generator.uniform(-1, 1, 2) * config.misalignment * size[0]
    return about_centre(rotation_and_zoom(degrees, zoom), shift, size)


def warp_into(canvas: npt.NDArray[np.uint8], image: npt.NDArray[np.uint8], matrix: Matrix) -> None:
    """Warp ``image`` by ``matrix`` and draw it into ``canvas``.

    Only the pixels whose centre lies in the warped image are overwritten.
    """
    height, width = image.shape[:2]
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], np.float64) @ matrix[:2].T
    left, top = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(corners.max(axis=0)).astype(int), (canvas.shape[1], canvas.shape[0]))
    if right <= left or bottom <= top:
        return
    # The origin of OpenCV is the centre of the first pixel. The origin of the matrices is the image corner.
    shifted = matrix[:2].copy()
    shifted[:, 2] += matrix[:2, :2] @ (0.5, 0.5) - 0.5 - (left, top)
    size = (int(right - left), int(bottom - top))
    # BORDER_TRANSPARENT would skip pixels that read beyond the image edge: a border as wide as the zoom factor.
    warped = cv2.warpAffine(image, shifted, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    inside = cv2.warpAffine(np.full((height, width), 255, np.uint8), shifted, size, flags=cv2.INTER_NEAREST)
    cv2.copyTo(warped, inside, canvas[top:bottom, left:right])


def warp_boxes(
    boxes: npt.NDArray[np.float32], matrix: Matrix, size: tuple[int, int], config: AugmentationConfig
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Return the warped boxes (n, 4), clipped to ``size``, and a mask (n,) of the boxes to keep.

    A box is kept if enough of its warped area is still in the image and no edge is too short. The thresholds are
    ``minimum_visibility`` and ``minimum_side_px`` of ``config``.
    """
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2).astype(np.float64)
    mapped = corners @ matrix[:2, :2].T + matrix[:2, 2]
    whole = np.concatenate([mapped.min(axis=1), mapped.max(axis=1)], axis=1)
    clipped = np.clip(whole, 0, (*size, *size))
    sides, clipped_sides = whole[:, 2:] - whole[:, :2], clipped[:, 2:] - clipped[:, :2]
    visibility = clipped_sides.prod(axis=1) / np.maximum(sides.prod(axis=1), 1e-9)
    keep = (visibility >= config.minimum_visibility) & (clipped_sides > 0).all(axis=1)
    keep &= (clipped_sides >= config.minimum_side_px).all(axis=1)
    return clipped.astype(np.float32), keep


def rotation_and_zoom(degrees: float, zoom: float) -> npt.NDArray[np.float64]:
    """Return the linear part (2, 2) of a rotation by ``degrees`` and a zoom by the factor ``zoom``."""
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.asarray(zoom * np.array([[cosine, -sine], [sine, cosine]]))


def about_centre(linear: npt.NDArray[np.float64], shift: npt.NDArray[np.float64], size: tuple[int, int]) -> Matrix:
    """Return the matrix of ``linear`` (2, 2) about the centre of an image of ``size``, followed by ``shift`` (2,)."""
    centre = np.array(size, np.float64) / 2
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = centre + shift - linear @ centre
    return matrix
