# SPDX-License-Identifier: Apache-2.0
"""Measure the misalignment between regions of the thermal and RGB images from common edges, summed over all pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.perception.letterbox import Size, size_of
from fusion_mamba_ros.perception.registration import Homography, map_points, warp_to_rgb_view
from fusion_mamba_ros.registration.edge_orientation import edge_orientation

Grey = npt.NDArray[np.uint8]
GreyPair = tuple[Grey, Grey]

_REGIONS = (6, 5)
# Shifts within this distance of the best shift, in pixels of the working image, belong to its peak.
_PEAK_RADIUS_PX = 4.0


@dataclass(frozen=True)
class RegionResidual:
    """Misalignment ``shift_px`` (RGB pixels) that remains around ``centre`` (normalised RGB coordinates).

    ``significance``: how far the agreement of the best shift is above the mean of the shifts outside its peak, in their
    standard deviations.
    """

    centre: tuple[float, float]
    shift_px: tuple[float, float]
    significance: float

    @property
    def distance_px(self) -> float:
        """Length of the shift, in RGB pixels."""
        return float(np.hypot(*self.shift_px))


def measure_regions(
    pairs: Sequence[GreyPair], homography: Homography, size: Size, reach: int, rgb_size: Size
) -> tuple[list[RegionResidual], float]:
    """Return the remaining shift of each region, and the significance of the best shift of the whole image."""
    rgb = rgb_edges(pairs, size)
    thermal = thermal_edges(pairs, homography, size)
    padded = np.pad(thermal, ((0, 0), (0, 0), (reach, reach), (reach, reach)))
    shifts = range(-reach, reach + 1)
    grid = _REGIONS[1], _REGIONS[0]
    agreement = np.empty((len(shifts), len(shifts), *grid))
    edges_y = np.linspace(0, size[1], grid[0] + 1).round().astype(int)[:-1]
    edges_x = np.linspace(0, size[0], grid[1] + 1).round().astype(int)[:-1]
    for i, dy in enumerate(shifts):
        for j, dx in enumerate(shifts):
            moved = padded[:, :, reach - dy : reach - dy + size[1], reach - dx : reach - dx + size[0]]
            product = np.einsum("nchw,nchw->hw", rgb, moved)
            agreement[i, j] = np.add.reduceat(np.add.reduceat(product, edges_y, axis=0), edges_x, axis=1)
    to_rgb = np.array([rgb_size[0] / size[0], rgb_size[1] / size[1]])
    regions = []
    for row in range(grid[0]):
        for column in range(grid[1]):
            shift, significance = _peak(agreement[:, :, row, column])
            centre = (column + 0.5) / grid[1], (row + 0.5) / grid[0]
            shift_px = shift * to_rgb
            regions.append(RegionResidual(centre, (float(shift_px[0]), float(shift_px[1])), significance))
    return regions, _peak(agreement.sum(axis=(2, 3)))[1]


def _peak(agreement: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], float]:
    """Return the best shift (x, y) with subpixel precision, and its significance in standard deviations."""
    reach = agreement.shape[0] // 2
    y, x = np.unravel_index(int(agreement.argmax()), agreement.shape)
    rows, columns = np.indices(agreement.shape)
    rest = agreement[np.hypot(rows - y, columns - x) > _PEAK_RADIUS_PX]
    spread = float(rest.std())
    if spread <= 0 or not 0 < y < 2 * reach or not 0 < x < 2 * reach:
        # A best shift at the border of the search range is not a peak.
        return np.zeros(2), 0.0
    fine = np.array(
        [
            x + _parabola(agreement[y, x - 1], agreement[y, x], agreement[y, x + 1]),
            y + _parabola(agreement[y - 1, x], agreement[y, x], agreement[y + 1, x]),
        ]
    )
    return fine - reach, float((agreement[y, x] - rest.mean()) / spread)


def _parabola(before: float, peak: float, after: float) -> float:
    """Return the position of the maximum of the parabola through three samples, relative to the middle sample."""
    curvature = before - 2 * peak + after
    return 0.0 if curvature >= 0 else float(np.clip(0.5 * (before - after) / curvature, -0.5, 0.5))


def work_size(pairs: Sequence[GreyPair], width: int) -> Size:
    """Return the size of a working image ``width`` pixels wide with the aspect ratio of the RGB images."""
    rgb_width, rgb_height = size_of(pairs[0][0])
    return width, max(2 * _REGIONS[1], round(width * rgb_height / rgb_width))


def rgb_edges(pairs: Sequence[GreyPair], size: Size) -> npt.NDArray[np.float32]:
    """Return the edge maps (n, 2, H, W) of the RGB images."""
    return np.stack([edge_orientation(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)) for rgb, _ in pairs])


def thermal_edges(pairs: Sequence[GreyPair], homography: Homography, size: Size) -> npt.NDArray[np.float32]:
    """Return the edge maps (n, 2, H, W) of the thermal images, warped to the RGB view."""
    x, y = np.meshgrid((np.arange(size[0]) + 0.5) / size[0], (np.arange(size[1]) + 0.5) / size[1])
    source = map_points(np.linalg.inv(homography), np.column_stack([x.ravel(), y.ravel()]))
    covered = ((source > 0) & (source < 1)).all(axis=1).reshape(size[1], size[0])
    # If the RGB view has the lower resolution, average the thermal image before sampling it, to avoid aliasing.
    corners = map_points(homography, np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])) * size
    extent = np.hypot(*(corners[1:] - corners[0]).T)
    views = []
    for _, thermal in pairs:
        smaller = tuple(max(8, min(round(float(a)), b)) for a, b in zip(extent, size_of(thermal), strict=True))
        reduced = cv2.resize(thermal, smaller, interpolation=cv2.INTER_AREA)
        views.append(edge_orientation(warp_to_rgb_view(np.asarray(reduced, np.uint8), homography, size), covered))
    return np.stack(views)
