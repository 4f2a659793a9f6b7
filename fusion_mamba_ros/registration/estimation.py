# SPDX-License-Identifier: Apache-2.0
"""Estimate the homography from thermal to RGB from image pairs of ordinary scenes.

The intensities of the two cameras do not match, so the images are compared by edge orientation. One pair gives only
weak evidence, so the evidence of all pairs is summed before any decision. The first step searches scale, rotation and
shift on a coarse grid. The next steps measure the shifts of single regions and fit a homography to them, from coarse
to fine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from fusion_mamba_ros.perception.letterbox import Size, size_of
from fusion_mamba_ros.perception.registration import Homography, homography_from, map_points
from fusion_mamba_ros.registration.residuals import (
    GreyPair,
    RegionResidual,
    measure_regions,
    rgb_edges,
    thermal_edges,
    work_size,
)

# Grid of the coarse search: width of the thermal image relative to the RGB image, and rotation.
_SCALES = np.geomspace(0.35, 2.0, 36)
_ROTATIONS_DEG = (-4.0, 0.0, 4.0)
_COARSE_WIDTH_PX = 128
_COARSE_PAIRS = 16
# One entry for each refinement: width of the working image and search range of a region's shift, both in pixels.
_REFINEMENTS = ((160, 8), (160, 8), (320, 8), (320, 8), (320, 10))
# A shift counts if its agreement is this many standard deviations above the mean agreement of the other shifts.
_REGION_SIGNIFICANCE = 3.5
_IMAGE_SIGNIFICANCE = 6.0
_MINIMUM_REGIONS = 6
# Perspective is fitted only if regions cover most of the image. With fewer regions it would be extrapolated.
_PERSPECTIVE_REGIONS = 20
# The estimates of two halves of the pairs may differ by at most this fraction of the image width.
_HALVES_AGREEMENT = 0.02


class RegistrationError(ValueError):
    """Error for images that do not determine the registration of the cameras. The message is one sentence."""


@dataclass(frozen=True)
class RegistrationEstimate:
    """The homography (thermal to RGB, normalised), the residual of each region, and the quality of the evidence.

    ``grid``: centres of all regions. ``regions``: the regions in which both cameras show enough edges to measure.
    ``significance``: significance of the best shift of the whole image.
    ``halves_differ_px``: mean distance between the estimates of two halves of the pairs, in RGB pixels (None for one
    pair).
    """

    homography: Homography
    regions: tuple[RegionResidual, ...]
    grid: tuple[tuple[float, float], ...]
    significance: float
    halves_differ_px: float | None
    pair_count: int

    @property
    def residual_px(self) -> float:
        """Median residual of the regions, in RGB pixels. NaN without regions."""
        return float(np.median([region.distance_px for region in self.regions])) if self.regions else float("nan")


def estimate_registration(
    pairs: Sequence[GreyPair], *, on_progress: Callable[[float], None] = lambda fraction: None
) -> RegistrationEstimate:
    """Return the registration estimated from ``pairs`` of (grey RGB (H, W), scaled thermal (h, w)), both uint8.

    Twenty pairs with edges in all parts of the image are a good number. Image sizes may differ between pairs. All pairs
    must come from the same two cameras. Raises :class:`RegistrationError` if there are no pairs or the evidence is too
    weak.
    """
    if not pairs:
        raise RegistrationError("no pair of images to register: give some")
    start = _search(pairs[:: -(-len(pairs) // _COARSE_PAIRS)], partial(_advance, on_progress, 0.0, 0.3))
    estimate, regions, significance = _refine(pairs, start, partial(_advance, on_progress, 0.3, 0.35))
    counted = tuple(region for region in regions if region.significance >= _REGION_SIGNIFICANCE)
    if significance < _IMAGE_SIGNIFICANCE or len(counted) < _MINIMUM_REGIONS:
        raise RegistrationError(
            f"the evidence of {len(pairs)} pair(s) is too weak (significance {significance:.1f}, needed "
            f"{_IMAGE_SIGNIFICANCE:g}; {len(counted)} of {len(regions)} regions, needed {_MINIMUM_REGIONS}): give "
            "more pairs taken at the same moment, with edges that both cameras see"
        )
    width, height = size_of(pairs[0][0])
    halves_differ_px = None
    if len(pairs) > 1:
        halves = []
        for half, done in ((pairs[::2], 0.65), (pairs[1::2], 0.825)):
            halves.append(_refine(half, start, partial(_advance, on_progress, done, 0.175))[0])
        halves_differ_px = _distance_px(halves[0], halves[1], (width, height))
    if halves_differ_px is not None and halves_differ_px > _HALVES_AGREEMENT * width:
        raise RegistrationError(
            f"two halves of the {len(pairs)} pairs disagree by {halves_differ_px:.0f} px: give more pairs taken at the "
            "same moment, or check that both cameras stayed fixed to each other"
        )
    grid = tuple(region.centre for region in regions)
    return RegistrationEstimate(estimate, counted, grid, significance, halves_differ_px, len(pairs))


def _advance(on_progress: Callable[[float], None], done: float, share: float, part: float) -> None:
    on_progress(done + share * part)


def _search(pairs: Sequence[GreyPair], on_progress: Callable[[float], None]) -> Homography:
    """Return the similarity (scale, rotation, shift; square pixels) that aligns thermal edges best with RGB edges."""
    size = work_size(pairs, _COARSE_WIDTH_PX)
    padded = (2 * size[1], 2 * size[0])
    rgb = np.fft.rfft2(rgb_edges(pairs, size), s=padded)
    best, found = -np.inf, np.eye(3)
    trials = [(scale, rotation) for scale in _SCALES for rotation in _ROTATIONS_DEG]
    for number, (scale, rotation) in enumerate(trials):
        homography = _similarity(pairs[0], float(scale), rotation)
        edges = thermal_edges(pairs, homography, size)
        strength = float(np.sqrt(np.square(edges).sum()))
        spectrum = (rgb * np.fft.rfft2(edges, s=padded).conj()).sum(axis=(0, 1))
        agreement = np.fft.irfft2(spectrum, s=padded) / max(strength, 1e-6)
        y, x = np.unravel_index(int(agreement.argmax()), padded)
        if agreement[y, x] > best:
            best = float(agreement[y, x])
            shift = (x if x < size[0] else x - padded[1]) / size[0], (y if y < size[1] else y - padded[0]) / size[1]
            found = np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1]]) @ homography
        on_progress((number + 1) / len(trials))
    return found


def _refine(
    pairs: Sequence[GreyPair], homography: Homography, on_progress: Callable[[float], None]
) -> tuple[Homography, list[RegionResidual], float]:
    """Return the homography fitted to the region shifts, the remaining region shifts, and the significance."""
    width, height = size_of(pairs[0][0])
    regions: list[RegionResidual] = []
    significance = 0.0
    for number, (work_width, reach) in enumerate(_REFINEMENTS):
        # Do not work at a higher resolution than the images have.
        size = work_size(pairs, min(work_width, width))
        last = number == len(_REFINEMENTS) - 1
        regions, significance = measure_regions(pairs, homography, size, reach, (width, height))
        if not last:
            homography = _fit(homography, regions, (width, height), affine_only=number < 2)
        on_progress((number + 1) / len(_REFINEMENTS))
    return homography, regions, significance


def _fit(homography: Homography, regions: Sequence[RegionResidual], size: Size, *, affine_only: bool) -> Homography:
    """Return ``homography`` corrected by a least-squares fit to the region shifts.

    The weight of a region is its significance. The weight is reduced if the region contradicts the others (parallax, a
    moving object). The correction is small, so it is linearised in its 8 parameters. The perspective terms are damped,
    because they are the least certain and because mounted cameras differ little in perspective.
    """
    regions = [region for region in regions if region.significance >= _REGION_SIGNIFICANCE]
    if len(regions) < 3:
        return homography
    scale = np.array(size) / 2.0
    x, y = (2.0 * np.array([region.centre for region in regions]) - 1.0).T
    shift = np.array([region.shift_px for region in regions]) / scale
    zero, one = np.zeros_like(x), np.ones_like(x)
    rows = np.concatenate(
        [
            np.stack([x, y, one, zero, zero, zero, -x * x, -x * y], axis=1),
            np.stack([zero, zero, zero, x, y, one, -x * y, -y * y], axis=1),
        ]
    )
    target = np.concatenate([shift[:, 0], shift[:, 1]])
    certainty = np.array([min(region.significance / _REGION_SIGNIFICANCE, 4.0) for region in regions])
    perspective = 1e6 if affine_only or len(regions) < _PERSPECTIVE_REGIONS else 0.02
    damping = np.diag([1e-3, 1e-3, 1e-6, 1e-3, 1e-3, 1e-6, perspective, perspective]) * certainty.sum()
    robust = np.ones(len(regions))
    for _ in range(10):
        weights = np.tile(certainty * robust, 2)
        solution = np.linalg.solve(rows.T @ (weights[:, None] * rows) + damping, rows.T @ (weights * target))
        distance = np.hypot(*((target - rows @ solution).reshape(2, -1)))
        tolerance = max(float(np.median(distance)), 1e-6)
        robust = 1.0 / np.maximum(distance / (1.5 * tolerance), 1.0) ** 2
    a, b, c, d, e, f, g, h = solution
    correction = np.array([[1 + a, b, c], [d, 1 + e, f], [g, h, 1]])
    to_centred = np.array([[2.0, 0, -1], [0, 2.0, -1], [0, 0, 1]])
    try:
        return homography_from(np.linalg.inv(to_centred) @ correction @ to_centred @ homography)
    except ValueError:
        return homography


def _similarity(pair: GreyPair, scale: float, rotation_deg: float) -> Homography:
    """Return the homography that rotates the thermal image, scales it to ``scale`` times RGB width, and centres it."""
    (width, height), (thermal_width, thermal_height) = size_of(pair[0]), size_of(pair[1])
    factor, angle = scale * width / thermal_width, np.deg2rad(rotation_deg)
    turn = factor * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.eye(3)
    matrix[:2, :2] = turn
    matrix[:2, 2] = np.array([width, height]) / 2 - turn @ np.array([thermal_width, thermal_height]) / 2
    return np.diag([1 / width, 1 / height, 1.0]) @ matrix @ np.diag([thermal_width, thermal_height, 1.0])


def _distance_px(first: Homography, second: Homography, size: Size) -> float:
    """Return the mean distance between the points to which two homographies map the image, in RGB pixels."""
    points = np.stack(np.meshgrid(np.linspace(0.1, 0.9, 9), np.linspace(0.1, 0.9, 9)), axis=-1).reshape(-1, 2)
    difference = (map_points(first, points) - map_points(second, points)) * np.array(size)
    return float(np.hypot(*difference.T).mean())
