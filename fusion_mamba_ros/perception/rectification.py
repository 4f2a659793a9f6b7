# SPDX-License-Identifier: Apache-2.0
"""Rectify the images of a lens that distorts, and map boxes back to the pixels of the original image.

The calibration is that of a `sensor_msgs/CameraInfo`, and the rectified image is that of `image_proc`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.perception.detections import Detections
from fusion_mamba_ros.perception.letterbox import PADDING_LEVEL, Size, size_of
from fusion_mamba_ros.streams.message_text import quoted

Points = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

FISHEYE = "equidistant"
# Distortion models of REP 104 and of `distortion_models.hpp`, and the numbers of coefficients that OpenCV accepts.
_LENGTHS: dict[str, tuple[int, ...]] = {"plumb_bob": (4, 5), "rational_polynomial": (8, 12, 14), FISHEYE: (4,)}
# Each edge of a box is mapped at this many points and its corner, because a straight edge becomes a curve.
_POINTS_PER_EDGE = 8
# A box of which less than this remains in the original image, in pixels of either side, is left out.
_LEAST_SIDE_PX = 1.0
# OpenCV stores the integer part of a map in 16 bits, signed.
_LARGEST_SIDE_PX = 32766
# Points of each axis at which a calibration is checked.
_GRID = 17
_MEDIAN_STEP = 8


class CalibrationError(ValueError):
    """Raised for a camera calibration that cannot be used. The message is one sentence without a full stop."""


@dataclass(frozen=True)
class CameraCalibration:
    """The checked calibration of a camera whose lens distorts.

    ``size`` is the (width, height) of its images. ``camera`` is the matrix K, ``distortion`` the vector D, ``rotation``
    the matrix R and ``projection`` the left 3x3 of P, by rows.
    """

    size: Size
    model: str
    distortion: tuple[float, ...]
    camera: tuple[float, ...]
    rotation: tuple[float, ...]
    projection: tuple[float, ...]


def calibration_from(
    *,
    size: Size,
    model: str,
    d: Sequence[float],
    k: Sequence[float],
    r: Sequence[float],
    p: Sequence[float],
    binning: Size = (1, 1),
    region: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> CameraCalibration | None:
    """Return the calibration of a CameraInfo, or None if its lens does not distort (D is empty or all zero).

    ``size`` is the (width, height) of the whole sensor, ``binning`` the number of its pixels in one pixel of the image
    (0 counts as 1), and ``region`` the part that is read: x, y, width, height in pixels of the sensor; zeros mean the
    whole. A rotation ``r`` of zeros counts as the identity, a projection ``p`` of zeros as that of ``k``. Raises
    `CalibrationError` for values that cannot be used.
    """
    for name, values, count in (("K", k, 9), ("R", r, 9), ("P", p, 12)):
        if len(values) != count:
            raise CalibrationError(f"{name} has {len(values)} numbers: expected {count}")
    if len(d) > max(_LENGTHS["rational_polynomial"]):
        raise CalibrationError(f"D has {len(d)} numbers: no distortion model has so many")
    for name, values in (("D", d), ("K", k), ("R", r), ("P", p)):
        if not np.isfinite(np.asarray(values, np.float64)).all():
            raise CalibrationError(f"{name} contains NaN or infinity: calibrate the camera again")
    if not any(d):
        return None
    lengths = _LENGTHS.get(model)
    if lengths is None:
        raise CalibrationError(f"distortion_model is {quoted(model)}: expected one of {', '.join(_LENGTHS)}")
    if len(d) not in lengths:
        expected = " or ".join(str(length) for length in lengths)
        raise CalibrationError(f"D has {len(d)} numbers: {model} has {expected}")
    return CameraCalibration(
        _image_size(size, binning, region),
        model,
        tuple(float(value) for value in d),
        _values(_in_image(_camera_matrix("K", np.reshape(k, (3, 3))), binning, region)),
        _values(_rotation(np.asarray(r, np.float64).reshape(3, 3))),
        _values(_in_image(_projection(k, p), binning, region)),
    )


def _values(matrix: Matrix) -> tuple[float, ...]:
    return tuple(float(value) for value in matrix.ravel())


def _image_size(size: Size, binning: Size, region: tuple[int, int, int, int]) -> Size:
    width, height = region[2:] if region[2] and region[3] else size
    return width // max(1, binning[0]), height // max(1, binning[1])


def _camera_matrix(name: str, values: npt.NDArray[Any]) -> Matrix:
    matrix = np.asarray(values, np.float64)
    if not (matrix[0, 0] > 0 and matrix[1, 1] > 0):
        raise CalibrationError(
            f"{name} has the focal lengths {matrix[0, 0]:g} and {matrix[1, 1]:g}: expected more than 0, "
            "calibrate the camera"
        )
    # OpenCV reads only these entries of K.
    return np.array([[matrix[0, 0], matrix[0, 1], matrix[0, 2]], [0.0, matrix[1, 1], matrix[1, 2]], [0.0, 0.0, 1.0]])


def _projection(k: Sequence[float], p: Sequence[float]) -> Matrix:
    if not any(p):
        return _camera_matrix("K", np.reshape(k, (3, 3)))
    return _camera_matrix("P", np.reshape(p, (3, 4))[:, :3])


def _rotation(matrix: Matrix) -> Matrix:
    if not matrix.any():
        return np.eye(3)
    if not np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-2) or np.linalg.det(matrix) < 0:
        raise CalibrationError(f"R is no rotation: {[round(value, 3) for value in matrix.ravel().tolist()]}")
    return matrix


def _in_image(matrix: Matrix, binning: Size, region: tuple[int, int, int, int]) -> Matrix:
    """Return a camera matrix of the sensor as that of the image, which may be binned and a part of the sensor."""
    moved = matrix.copy()
    moved[:2, 2] -= region[:2]
    return np.diag([1.0 / max(1, binning[0]), 1.0 / max(1, binning[1]), 1.0]) @ moved


class Rectification:
    """The maps of one calibration, built once: images to rectified images, boxes back to the original image.

    The rectified image has the size of the original. Raises `CalibrationError` if the calibration sends pixels of the
    rectified image to infinity, or if none of them shows a part of the original image.
    """

    def __init__(self, calibration: CameraCalibration) -> None:
        self.calibration = calibration
        self._camera = np.reshape(calibration.camera, (3, 3))
        self._distortion = np.asarray(calibration.distortion)
        rotation, projection = np.reshape(calibration.rotation, (3, 3)), np.reshape(calibration.projection, (3, 3))
        with np.errstate(all="ignore"):
            try:
                self._rays = np.linalg.inv(projection @ rotation)
            except np.linalg.LinAlgError as error:
                raise CalibrationError("P and R have no inverse: calibrate the camera again") from error
            self._check()
        build: Callable[..., Any] = cv2.initUndistortRectifyMap
        if calibration.model == FISHEYE:
            build = cv2.fisheye.initUndistortRectifyMap
        self._maps: tuple[Any, Any] = build(
            self._camera, self._distortion, rotation, projection, calibration.size, cv2.CV_16SC2
        )

    def rectify(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the rectified image, of the same shape and type.

        Pixels without a source have the padding level in colour images, and the median of the image in others, where
        another level could widen the range of the thermal counts. Raises ``ValueError`` for an image of another size.
        """
        if size_of(image) != self.calibration.size:
            raise ValueError(f"the image is {size_of(image)}, its calibration is for {self.calibration.size}")
        level = PADDING_LEVEL if image.ndim == 3 else int(np.median(image[::_MEDIAN_STEP, ::_MEDIAN_STEP]))
        rectified = cv2.remap(
            image,
            self._maps[0],
            self._maps[1],
            interpolation=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(level,) * 4,
        )
        return np.asarray(rectified)

    def to_original(self, points: npt.NDArray[Any]) -> Points:
        """Return points (n, 2) of the rectified image in the original one.

        Coordinates are continuous: pixel i covers [i, i + 1).
        """
        # OpenCV's coordinates start at pixel centres, ours at pixel corners.
        rays = np.column_stack([np.asarray(points, np.float64) - 0.5, np.ones(len(points))]) @ self._rays.T
        rays /= rays[:, 2:]
        if self.calibration.model == FISHEYE:
            mapped = cv2.fisheye.distortPoints(rays[:, None, :2], self._camera, self._distortion)
        else:
            mapped, _ = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), self._camera, self._distortion)
        return np.asarray(mapped, np.float64).reshape(-1, 2) + 0.5

    def restored(self, detections: Detections) -> Detections:
        """Return detections in the rectified image in pixels of the original image, best first.

        Each box is the smallest upright one around the mapped outline, clipped to the image. Detections of which less
        than one pixel is inside are left out.
        """
        if not len(detections):
            return detections
        mapped = self.to_original(_outlines(detections.boxes).reshape(-1, 2)).reshape(len(detections), -1, 2)
        bounds = np.concatenate([mapped.min(axis=1), mapped.max(axis=1)], axis=1)
        boxes = np.clip(bounds, 0.0, np.tile(self.calibration.size, 2))
        kept = (boxes[:, 2:] - boxes[:, :2] >= _LEAST_SIDE_PX).all(axis=1)
        return detections.kept(kept, boxes=boxes)

    def _check(self) -> None:
        width, height = self.calibration.size
        if min(width, height) <= 0:
            raise CalibrationError(f"the camera's images are {width}x{height}: expected at least one pixel")
        if max(width, height) > _LARGEST_SIDE_PX:
            raise CalibrationError(f"OpenCV rectifies no images of {width}x{height}: at most {_LARGEST_SIDE_PX} pixels")
        grid = np.stack(np.meshgrid(np.linspace(0, width, _GRID), np.linspace(0, height, _GRID)), axis=-1)
        points = grid.reshape(-1, 2)
        if ((np.column_stack([points - 0.5, np.ones(len(points))]) @ self._rays.T)[:, 2] <= 0).any():
            raise CalibrationError("R and P turn a part of the rectified image behind the camera: calibrate it again")
        mapped = self.to_original(points)
        if not np.isfinite(mapped).all():
            raise CalibrationError("D sends pixels of the rectified image to infinity: calibrate the camera again")
        if not ((mapped >= 0) & (mapped <= (width, height))).all(axis=1).any():
            raise CalibrationError("the rectified image shows nothing of the original one: calibrate the camera again")


def _outlines(boxes: npt.NDArray[np.float32]) -> Points:
    """Return points (n, m, 2) around boxes (n, 4): the corners and points between them."""
    steps = np.arange(_POINTS_PER_EDGE) / _POINTS_PER_EDGE
    zeros, ones = np.zeros(_POINTS_PER_EDGE), np.ones(_POINTS_PER_EDGE)
    x = np.concatenate([steps, ones, 1 - steps, zeros])
    y = np.concatenate([zeros, steps, ones, 1 - steps])
    corner, size = boxes[:, None, :2].astype(np.float64), (boxes[:, 2:] - boxes[:, :2])[:, None].astype(np.float64)
    return np.asarray(corner + size * np.stack([x, y], axis=-1)[None])
