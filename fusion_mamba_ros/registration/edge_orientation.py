# SPDX-License-Identifier: Apache-2.0
"""Compute edge maps that are comparable between RGB and thermal images of one scene."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

# Gradients weaker than this fraction of the image's overall strength count as noise.
_NOISE_FRACTION = 0.3
_LARGEST_STRENGTH = 2.0


def edge_orientation(
    grey: npt.NDArray[Any], valid: npt.NDArray[np.bool_] | None = None, *, blur_px: float = 1.0
) -> npt.NDArray[np.float32]:
    """Return the edge map (2, H, W) float32 of a grey image (H, W): strength times cos and sin of twice the angle.

    Doubling the angle removes the contrast direction: an edge looks the same whether its left or its right side is
    brighter, and this differs between the cameras. The strength is relative to the surroundings, so that faint edges
    at night count as much as strong edges by day. The local mean is subtracted, because structures such as the horizon
    are in every street image. The map is zero where ``valid`` is false.
    """
    smooth = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), blur_px)
    gx = cv2.Scharr(smooth, cv2.CV_32F, 1, 0)
    gy = cv2.Scharr(smooth, cv2.CV_32F, 0, 1)
    inner = np.ones(grey.shape, np.float32)
    if valid is not None:
        # The border of the valid area is not an edge of the scene.
        inner = cv2.erode(valid.astype(np.float32), np.ones((5, 5), np.uint8), borderValue=1.0)
    squared = (gx * gx + gy * gy) * inner
    window = (max(3, grey.shape[1] // 8) | 1,) * 2
    cover = np.maximum(cv2.boxFilter(inner, -1, window), 1e-3)
    surroundings = np.sqrt(np.maximum(cv2.boxFilter(squared, -1, window), 0.0) / cover)
    floor = _NOISE_FRACTION * np.sqrt(float(squared.sum()) / max(float(inner.sum()), 1.0)) + 1e-3
    magnitude = np.sqrt(squared) + 1e-6
    strength = np.minimum(magnitude / (surroundings + floor), _LARGEST_STRENGTH)
    edges: npt.NDArray[Any] = np.stack([(gx * gx - gy * gy), 2.0 * gx * gy]) * (
        strength * inner / (magnitude * magnitude)
    )
    for channel in edges:
        channel -= cv2.boxFilter(channel, -1, window) / cover
        channel *= inner
    return edges.astype(np.float32)
