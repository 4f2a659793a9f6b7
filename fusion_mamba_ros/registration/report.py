# SPDX-License-Identifier: Apache-2.0
"""Report a registration: residuals of the regions, a checkerboard blend, and the YAML file for the node."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.perception.drawing import Image, contact_sheet
from fusion_mamba_ros.perception.letterbox import Size, size_of
from fusion_mamba_ros.perception.registration import Homography, warp_to_rgb_view
from fusion_mamba_ros.registration.estimation import RegistrationEstimate

Grey = npt.NDArray[np.uint8]
_SQUARES_ACROSS = 10


def residual_table(estimate: RegistrationEstimate) -> str:
    """Return a table of the residual of each region in RGB pixels, laid out like the regions in the image.

    A '-' marks a region without a measurement. A homography is exact for one depth only: regions at another depth keep
    a residual (parallax).
    """
    found = {region.centre: region.distance_px for region in estimate.regions}
    rows = []
    for y in sorted({y for _, y in estimate.grid}):
        cells = [found.get((x, y)) for x in sorted({x for x, _ in estimate.grid})]
        rows.append("  ".join(f"{'-' if cell is None else f'{cell:.1f}':>5}" for cell in cells))
    return "\n".join(rows)


def checkerboard(rgb: Image, thermal: Grey, homography: Homography) -> Image:
    """Return a checkerboard of RGB and thermal squares. With a good registration, edges continue across the squares.

    ``rgb`` is (H, W, 3) uint8, ``thermal`` is (h, w) uint8. Thermal squares are tinted to make them recognisable.
    """
    width, height = size_of(rgb)
    view = warp_to_rgb_view(thermal, homography, (width, height))
    tinted = cv2.applyColorMap(view, cv2.COLORMAP_INFERNO)[:, :, ::-1]
    square = max(8, width // _SQUARES_ACROSS)
    y, x = np.indices((height, width)) // square
    return np.where(((x + y) % 2 == 0)[:, :, None], rgb, tinted).astype(np.uint8)


def blend_sheet(pairs: Sequence[tuple[Image, Grey]], homography: Homography) -> Image:
    """Return a sheet with the checkerboards of each pair before (plain resize) and after registration."""
    images, captions = [], []
    for rgb, thermal in pairs:
        images += [checkerboard(rgb, thermal, np.eye(3)), checkerboard(rgb, thermal, homography)]
        captions += ["before: plain resize", "after registration"]
    return contact_sheet(images, captions, columns=2)


def registration_yaml(estimate: RegistrationEstimate, source: str, sizes: tuple[Size, Size]) -> str:
    """Return a ROS parameter file with ``registration.homography``. Its comment names ``source`` and ``sizes``."""
    (width, height), (thermal_width, thermal_height) = sizes
    numbers = estimate.homography.ravel()
    rows = ",\n".join("        " + ", ".join(f"{value:.9f}" for value in row) for row in numbers.reshape(3, 3))
    return (
        f"# Thermal to RGB, 3x3 by rows, between normalised image coordinates ([0, 1] in both directions).\n"
        f"# Estimated by 'fusion-mamba register' from {estimate.pair_count} pair(s) of {source}:\n"
        f"# RGB {width}x{height}, thermal {thermal_width}x{thermal_height}; median residual "
        f"{estimate.residual_px:.2f} RGB pixels over {len(estimate.regions)} regions.\n"
        "/**:\n  ros__parameters:\n    registration:\n      homography: [\n"
        f"{rows}\n      ]\n"
    )
