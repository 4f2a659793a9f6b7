# SPDX-License-Identifier: Apache-2.0
"""Pairs whose boxes can be seen: bright rectangles on black images."""

from __future__ import annotations

import numpy as np

from fusion_mamba_ros.datasets import AugmentationConfig, Sample

SIZE = (320, 256)
PLAIN = AugmentationConfig.none(SIZE)


def patch_sample(seed: int, *, size: tuple[int, int] = (640, 480), patches: int = 1) -> Sample:
    """Return a black pair with bright rectangles exactly where its boxes are."""
    rng = np.random.default_rng(seed)
    rgb, thermal = np.zeros((size[1], size[0], 3), np.uint8), np.zeros((size[1], size[0]), np.uint8)
    boxes = []
    for _ in range(patches):
        width, height = rng.integers(np.array(size) // 8, np.array(size) // 4)
        x, y = rng.integers(0, (size[0] - width, size[1] - height))
        rgb[y : y + height, x : x + width] = thermal[y : y + height, x : x + width] = 255
        boxes.append((x, y, x + width, y + height))
    return Sample(
        f"pair{seed}", {"rgb": rgb, "thermal": thermal}, np.array(boxes, np.float32), np.zeros(patches, np.int64), "day"
    )


def bright_box(image: np.ndarray) -> np.ndarray:
    # Padding is grey: bright is only what a patch covers by more than half.
    rows, columns = np.nonzero(image > 184)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
