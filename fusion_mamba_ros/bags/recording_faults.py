# SPDX-License-Identifier: Apache-2.0
"""Describe the faults of cameras that a recording imitates."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_CAMERAS = ("rgb", "thermal")
_MOST_DRIFT = 0.1
_LEAST_KEPT, _MOST_KEPT = 0.1, 0.9


@dataclass(frozen=True)
class FrameFaults:
    """Faults of one frame.

    ``jitter_sec`` is added to its stamp. A ``dropped`` frame is not recorded. ``kept_share`` is the share of the image
    data that is recorded: 1 for a whole image, less for a corrupt one.
    """

    jitter_sec: float
    dropped: bool
    kept_share: float


@dataclass(frozen=True)
class RecordingFaults:
    """Faults to put into a recording of two cameras. The default is no fault.

    * ``thermal_drift``: seconds by which the clock of the thermal camera gains in each second.
    * ``jitter_sec``: each stamp is moved by a random time of at most this much, up or down.
    * ``drop_share``: share of the frames of both cameras that are left out.
    * ``corrupt_share``: share of the recorded images whose data is cut short.
    * ``freezes``: (start, length) in seconds since the first frame. Meanwhile the thermal camera repeats its last image
      bit for bit, with fresh stamps, as during a flat-field correction.
    * ``seed``: the random faults of a frame depend only on this number, the camera and the index of the frame.

    Raises ``ValueError`` on a value out of range.
    """

    thermal_drift: float = 0.0
    jitter_sec: float = 0.0
    drop_share: float = 0.0
    corrupt_share: float = 0.0
    freezes: tuple[tuple[float, float], ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if not abs(self.thermal_drift) <= _MOST_DRIFT:
            raise ValueError(
                f"thermal_drift is {self.thermal_drift:g}: expected seconds per second, -{_MOST_DRIFT} to {_MOST_DRIFT}"
            )
        if not (math.isfinite(self.jitter_sec) and self.jitter_sec >= 0):
            raise ValueError(f"jitter_sec is {self.jitter_sec:g}: expected seconds, 0 or more")
        for name in ("drop_share", "corrupt_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name):g}: expected a share of the frames, 0 to below 1")
        for start, length in self.freezes:
            if not (0 <= start < math.inf and 0 < length < math.inf):
                raise ValueError(
                    f"a freeze is {start:g}:{length:g}: expected a start of 0 s or later and a length above 0 s"
                )
        if self.seed < 0:
            raise ValueError(f"the seed of the faults is {self.seed}: expected 0 or more")

    def check_rates(self, frames_per_second: dict[str, float]) -> None:
        """Raise ``ValueError`` if the jitter would put the stamps of a camera out of order."""
        for camera, rate in frames_per_second.items():
            if self.jitter_sec >= 0.5 / rate:
                raise ValueError(
                    f"jitter_sec is {self.jitter_sec:g}: expected less than half of the {camera} frame period, "
                    f"{0.5 / rate:.4g} s at {rate:g} frames per second"
                )

    def of_frame(self, camera: str, index: int) -> FrameFaults:
        """Return the random faults of the frame ``index`` of ``camera`` (rgb or thermal)."""
        rng = np.random.default_rng([self.seed, _CAMERAS.index(camera), index])
        # Draw all numbers in a fixed order: one kind of fault must not change the others.
        jitter, drop, corrupt, kept = rng.random(4)
        return FrameFaults(
            jitter_sec=float(self.jitter_sec * (2 * jitter - 1)),
            dropped=bool(drop < self.drop_share),
            kept_share=float(_LEAST_KEPT + (_MOST_KEPT - _LEAST_KEPT) * kept) if corrupt < self.corrupt_share else 1.0,
        )

    def is_frozen(self, seconds: float) -> bool:
        """Return whether the thermal image is frozen ``seconds`` after the first frame."""
        return any(start <= seconds < start + length for start, length in self.freezes)


def parse_freeze(text: str) -> tuple[float, float]:
    """Return (start, length) of a freeze written as START:LENGTH. Raises ``ValueError``."""
    start, colon, length = text.partition(":")
    try:
        if colon:
            return float(start), float(length)
    except ValueError:
        pass
    raise ValueError(f"a freeze is {text!r}: expected START:LENGTH in seconds, for example 3:0.5")
