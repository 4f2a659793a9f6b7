# SPDX-License-Identifier: Apache-2.0
"""Notice a camera that repeats one picture under fresh stamps, as thermal cameras do while their shutter is closed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# Telemetry lines count frames on while the picture stands still.
BORDER_ROWS_IGNORED = 4
SAMPLED_ROW_STEP = 16


class FrozenPicture:
    """Tell how long one camera's picture has stood still.

    Pixels must repeat exactly: a sensor's noise changes a picture even of a still scene. Repeats shorter than
    ``freeze_timeout_ns`` are normal, since a 9 Hz core behind a 30 Hz driver repeats every picture. A stream that was
    compressed as video (H.264) does not repeat exactly and is never called frozen.
    """

    def __init__(self, freeze_timeout_ns: int = 400_000_000) -> None:
        self.freeze_timeout_ns = freeze_timeout_ns
        self._picture: npt.NDArray[Any] | None = None
        self._since_ns = 0

    def is_fresh(self, pixels: npt.NDArray[Any], *, arrival_ns: int) -> bool:
        """Return False if this picture has been the same for ``freeze_timeout_ns`` or longer.

        ``pixels`` (H, W) or (H, W, 3) is kept until the next call, without a copy: do not write into it.
        """
        repeated = self._picture is not None and _same_picture(self._picture, pixels)
        if not repeated or arrival_ns < self._since_ns:
            self._since_ns = arrival_ns
        self._picture = pixels
        return arrival_ns - self._since_ns < self.freeze_timeout_ns or not repeated


def _same_picture(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.shape[0] > 4 * BORDER_ROWS_IGNORED:
        a, b = a[BORDER_ROWS_IGNORED:-BORDER_ROWS_IGNORED], b[BORDER_ROWS_IGNORED:-BORDER_ROWS_IGNORED]
    # Nearly every fresh picture already differs in the sample, so the whole comparison is only paid for repeats.
    return np.array_equal(a[::SAMPLED_ROW_STEP], b[::SAMPLED_ROW_STEP]) and np.array_equal(a, b)
