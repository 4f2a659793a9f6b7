# SPDX-License-Identifier: Apache-2.0
"""Detect a camera that repeats one image with new stamps. Thermal cameras do so while their shutter is closed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# Telemetry rows at the border change with every frame, even while the image is frozen.
BORDER_ROWS_IGNORED = 4
SAMPLED_ROW_STEP = 16


class FrozenImage:
    """Detect when the image of one camera is frozen.

    A repeated image has exactly equal pixels: sensor noise changes the image even if the scene is still. Repeats for
    less than ``freeze_timeout_ns`` are normal, because a 9 Hz core behind a 30 Hz driver repeats every image. Images
    from a compressed video stream (H.264) never repeat exactly, so they are never reported as frozen.
    """

    def __init__(self, freeze_timeout_ns: int = 400_000_000) -> None:
        self.freeze_timeout_ns = freeze_timeout_ns
        self._image: npt.NDArray[Any] | None = None
        self._since_ns = 0

    def is_fresh(self, pixels: npt.NDArray[Any], *, arrival_ns: int) -> bool:
        """Return False if the image has not changed for ``freeze_timeout_ns`` or longer.

        ``pixels`` is (H, W) or (H, W, 3). It is kept until the next call without a copy: do not modify it.
        """
        repeated = self._image is not None and _same_image(self._image, pixels)
        if not repeated or arrival_ns < self._since_ns:
            self._since_ns = arrival_ns
        self._image = pixels
        return arrival_ns - self._since_ns < self.freeze_timeout_ns or not repeated


def _same_image(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.shape[0] > 4 * BORDER_ROWS_IGNORED:
        a, b = a[BORDER_ROWS_IGNORED:-BORDER_ROWS_IGNORED], b[BORDER_ROWS_IGNORED:-BORDER_ROWS_IGNORED]
    # Nearly every new image differs in the sampled rows. So the full comparison only runs for repeats.
    return np.array_equal(a[::SAMPLED_ROW_STEP], b[::SAMPLED_ROW_STEP]) and np.array_equal(a, b)
