# SPDX-License-Identifier: Apache-2.0
"""Map detections from the pixels of the RGB image to those of the thermal image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.perception.detections import Detections
from fusion_mamba_ros.perception.letterbox import Size
from fusion_mamba_ros.perception.registration import Homography

# A box of which less than this remains in the thermal image, in pixels of either side, is left out.
_LEAST_SIDE_PX = 1.0
# The four edges of the unit square as half-planes: a homogeneous point is inside if all products are at least 0.
_EDGES = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 1.0], [0.0, -1.0, 1.0]])


def detections_in_thermal(
    detections: Detections, homography: Homography, *, reference_size: Size | None, thermal_size: Size
) -> Detections:
    """Return the detections in pixels of a thermal image of ``thermal_size`` (width, height), best first.

    ``homography`` maps thermal to RGB in normalised coordinates; its inverse maps the boxes. ``reference_size`` is the
    size of the RGB image in whose pixels the boxes are. None: they are in pixels of the thermal image already, and are
    returned unchanged. Each result is the smallest upright box around the part of the mapped box inside the thermal
    image. Detections of which nothing is inside are left out.
    """
    if reference_size is None or not len(detections):
        return detections
    inverse = np.linalg.inv(homography)
    # The determinant of a valid homography is positive; so is the third coordinate of its inverse inside the image.
    inverse /= np.abs(inverse).max()
    boxes = detections.boxes.astype(np.float64) / np.tile(reference_size, 2)
    corners = np.stack([boxes[:, [0, 1]], boxes[:, [2, 1]], boxes[:, [2, 3]], boxes[:, [0, 3]]], axis=1)
    mapped = np.concatenate([corners, np.ones((len(boxes), 4, 1))], axis=2) @ inverse.T
    bounds = np.array([_bounds_inside(polygon) for polygon in mapped]) * np.tile(thermal_size, 2)
    kept = (bounds[:, 2:] - bounds[:, :2] >= _LEAST_SIDE_PX).all(axis=1)
    return detections.kept(kept, boxes=bounds)


def _bounds_inside(polygon: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return x1 y1 x2 y2 around the part of a convex polygon, (n, 3) homogeneous, inside the unit square."""
    if (polygon @ _EDGES.T < 0).any():
        for edge in _EDGES:
            polygon = _clipped(polygon, polygon @ edge)
            if not len(polygon):
                return np.zeros(4)
    points = polygon[:, :2] / polygon[:, 2:]
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def _clipped(polygon: npt.NDArray[np.float64], distances: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the part of a convex polygon where ``distances``, linear over it and given at its corners, are not < 0."""
    points: list[npt.NDArray[np.float64]] = []
    for index, distance in enumerate(distances):
        before, corner = polygon[index - 1], polygon[index]
        previous = distances[index - 1]
        if (distance < 0) != (previous < 0):
            points.append(before + (corner - before) * (previous / (previous - distance)))
        if distance >= 0:
            points.append(corner)
    return np.array(points).reshape(-1, 3)
