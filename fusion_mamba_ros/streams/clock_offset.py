# SPDX-License-Identifier: Apache-2.0
"""Estimate the clock offset of the thermal camera from the motion that both cameras see."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.streams.frames import Camera

Array = npt.NDArray[np.float64]

CELL_ROWS, CELL_COLUMNS, CELL_SIZE_PX = 6, 8, 4
GRID_STEP_NS = 10_000_000
# Longest interval between two frames. With a longer one, the time of the motion is too uncertain.
LONGEST_GAP_NS = 500_000_000
# Slower changes are removed: they come from gain control and clouds, not from motion.
TREND_NS = 1_500_000_000
PEAK_HALF_WIDTH_NS = 150_000_000

SHORTEST_RECORDING_NS = 4_000_000_000
LEAST_CORRELATION = 0.06
LEAST_PEAK_TO_NOISE = 3.6
HALVES_AGREE_NS = 80_000_000


@dataclass(frozen=True)
class ClockOffset:
    """Offset to add to thermal stamps, and its confidence.

    Use ``thermal_offset_ns`` to set the parameter ``pairing.thermal_offset_sec``. ``correlation`` is the correlation
    of the motion in both cameras at this offset. ``peak_to_noise`` is the height of this correlation above the median
    of the other offsets, in units of their standard deviation.
    """

    thermal_offset_ns: int
    correlation: float
    peak_to_noise: float


class _Motion:
    """Motion of one camera over time: rate of mean absolute change in 6x8 cells, at the middle of each interval."""

    def __init__(self) -> None:
        self.samples: deque[tuple[int, npt.NDArray[np.float32]]] = deque()
        self._previous: tuple[int, npt.NDArray[np.float32]] | None = None

    def add(self, stamp_ns: int, pixels: npt.NDArray[Any], window_ns: int) -> None:
        small = _shrink(pixels)
        if self._previous is None or not 0 < stamp_ns - self._previous[0] <= LONGEST_GAP_NS:
            if self._previous is not None and stamp_ns <= self._previous[0]:
                self.samples.clear()
            self._previous = (stamp_ns, small)
            return
        before_ns, before = self._previous
        change = np.abs(small - before)
        if not change.any():
            return  # Skip a repeated frame: the next new frame shows the motion.
        cells = change.reshape(CELL_ROWS, CELL_SIZE_PX, CELL_COLUMNS, CELL_SIZE_PX).mean(axis=(1, 3))
        self.samples.append(((before_ns + stamp_ns) // 2, cells.ravel() / (stamp_ns - before_ns)))
        self._previous = (stamp_ns, small)
        while self.samples[-1][0] - self.samples[0][0] > window_ns:
            self.samples.popleft()

    @property
    def interval_ns(self) -> float:
        """Median time between two samples."""
        return float(np.median(np.diff([time_ns for time_ns, _ in self.samples])))

    def resampled(self, grid_ns: Array, exposure_ns: float) -> Array:
        """Return the motion at the times ``grid_ns``, shape (times, cells).

        The trend is removed, and the cells are scaled to similar weight. The motion is averaged over ``exposure_ns``,
        so that a fast camera gets the time resolution of a slow one.
        """
        times = np.array([time_ns for time_ns, _ in self.samples], np.float64)
        values = np.array([cells for _, cells in self.samples], np.float64)
        motion = np.stack([np.interp(grid_ns, times, column) for column in values.T], axis=1)
        motion = cv2.blur(motion, (1, int(exposure_ns / GRID_STEP_NS) | 1), borderType=cv2.BORDER_REPLICATE)
        motion -= cv2.blur(motion, (1, TREND_NS // GRID_STEP_NS | 1), borderType=cv2.BORDER_REPLICATE)
        spread = motion.std(axis=0)
        weighted: Array = motion / (spread + 0.2 * spread.mean() + np.finfo(np.float64).tiny)
        return weighted


class ClockOffsetEstimator:
    """Estimate the offset of the thermal stamps by correlating the motion that both cameras see.

    Pass every frame to `add`, and call `estimate` from time to time. The cameras only need a roughly common field of
    view. The estimator finds offsets up to ``max_offset_ns``. It uses the last ``window_ns`` of the stream. It is not
    thread-safe.
    """

    def __init__(self, max_offset_ns: int = 1_000_000_000, window_ns: int = 30_000_000_000) -> None:
        self.max_offset_ns = max_offset_ns
        self.window_ns = window_ns
        self._motion = {camera: _Motion() for camera in Camera}

    def add(self, camera: Camera, stamp_ns: int, pixels: npt.NDArray[Any]) -> None:
        """Add a frame with its camera's stamp.

        ``pixels`` is (H, W) or (H, W, 3), uint8 or uint16. If the stamp steps back, earlier frames of this camera are
        discarded.
        """
        self._motion[camera].add(stamp_ns, pixels, self.window_ns)

    def estimate(self) -> ClockOffset | None:
        """Return the offset, or None while it is uncertain.

        It is uncertain if the recording is too short, nothing moves, or no offset is clearly the best.
        """
        rgb, thermal = (self._motion[camera].samples for camera in Camera)
        if len(rgb) < 2 or len(thermal) < 2:
            return None
        start_ns, end_ns = max(rgb[0][0], thermal[0][0]), min(rgb[-1][0], thermal[-1][0])
        if end_ns - start_ns < SHORTEST_RECORDING_NS:
            return None
        grid_ns = np.arange(0, end_ns - start_ns, GRID_STEP_NS, dtype=np.float64) + start_ns
        slower_ns = max(motion.interval_ns for motion in self._motion.values())
        a, b = (self._motion[camera].resampled(grid_ns, slower_ns) for camera in Camera)
        whole = self._best_offset(a, b)
        half = len(grid_ns) // 2
        halves = [self._best_offset(a[part], b[part]) for part in (slice(half), slice(half, None))]
        if whole.correlation < LEAST_CORRELATION or whole.peak_to_noise < LEAST_PEAK_TO_NOISE:
            return None
        if any(abs(part.thermal_offset_ns - whole.thermal_offset_ns) > HALVES_AGREE_NS for part in halves):
            return None
        return whole

    def _best_offset(self, rgb: Array, thermal: Array) -> ClockOffset:
        count, reach = len(rgb), self.max_offset_ns // GRID_STEP_NS
        size = cv2.getOptimalDFTSize(count + reach)
        spectrum = np.conj(np.fft.rfft(rgb, size, axis=0)) * np.fft.rfft(thermal, size, axis=0)
        lags = np.arange(-reach, reach + 1)
        overlap = (count - np.abs(lags)) / count
        scale = np.sqrt((rgb**2).sum() * (thermal**2).sum()) + np.finfo(np.float64).tiny
        correlation = np.fft.irfft(spectrum.sum(axis=1), size)[lags] / (scale * overlap)
        best = int(correlation.argmax())
        rest = correlation[np.abs(lags - lags[best]) > PEAK_HALF_WIDTH_NS // GRID_STEP_NS]
        noise = float(rest.std()) + np.finfo(np.float64).tiny
        lag = lags[best] + _vertex(correlation[best - 1 : best + 2])
        return ClockOffset(
            -round(lag * GRID_STEP_NS), float(correlation[best]), float(correlation[best] - np.median(rest)) / noise
        )


def _shrink(pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return a small one-channel image, shape (24, 32).

    The green channel stands for a colour image. A large image is first subsampled to every n-th pixel.
    """
    rows, columns = CELL_ROWS * CELL_SIZE_PX, CELL_COLUMNS * CELL_SIZE_PX
    plane = pixels if pixels.ndim == 2 else pixels[..., 1]
    sparse = plane[:: max(1, plane.shape[0] // (4 * rows)), :: max(1, plane.shape[1] // (4 * columns))]
    small = cv2.resize(np.ascontiguousarray(sparse).astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def _vertex(three: Array) -> float:
    """Return the position of the maximum of the parabola through three values, relative to the middle value.

    The result is within -0.5 to 0.5. It is 0 at a border, where fewer than three values exist.
    """
    if len(three) < 3:
        return 0.0
    bend = three[0] - 2 * three[1] + three[2]
    return 0.0 if bend >= 0 else float(np.clip((three[0] - three[2]) / (2 * bend), -0.5, 0.5))
