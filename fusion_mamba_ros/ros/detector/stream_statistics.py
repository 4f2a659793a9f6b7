# SPDX-License-Identifier: Apache-2.0
"""Statistics of recent inputs and outputs, on the steady clock so that no clock jump distorts a rate."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fusion_mamba_ros.streams.frames import Camera

WINDOW_NS = 5_000_000_000
# Shortest time span for computing a rate: a burst after a stall must not count as a high rate.
SHORTEST_SPAN_NS = 1_000_000_000


@dataclass(frozen=True)
class Output:
    """One published array: its time on the steady clock, its age and its inference time."""

    steady_ns: int
    mode: str
    offset_ns: int | None
    age_ms: float
    inference_ms: float


@dataclass(frozen=True)
class Summary:
    """Rates in Hz and percentiles of the window. A value is None if nothing was measured."""

    input_rates_hz: dict[Camera, float] = field(default_factory=dict)
    last_arrival_ns: dict[Camera, int] = field(default_factory=dict)
    output_rate_hz: float = 0.0
    last_output: Output | None = None
    offset_ms_p50: float | None = None
    offset_ms_p95: float | None = None
    age_ms_p50: float | None = None
    age_ms_p95: float | None = None
    inference_ms_p50: float | None = None
    inference_ms_p95: float | None = None


class StreamStatistics:
    """Keep the arrivals and outputs of the last five seconds of steady time. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._arrivals: dict[Camera, deque[int]] = {camera: deque() for camera in Camera}
        self._last_arrival_ns: dict[Camera, int] = {}
        self._outputs: deque[Output] = deque()
        self._last_output: Output | None = None

    def note_arrival(self, camera: Camera, steady_ns: int) -> None:
        """Count an image, valid or not."""
        with self._lock:
            self._arrivals[camera].append(steady_ns)
            self._last_arrival_ns[camera] = steady_ns
            _forget(self._arrivals[camera], steady_ns)

    def note_output(self, output: Output) -> None:
        """Count a published array."""
        with self._lock:
            self._outputs.append(output)
            self._last_output = output
            while output.steady_ns - self._outputs[0].steady_ns > WINDOW_NS:
                self._outputs.popleft()

    def summary(self, steady_ns: int) -> Summary:
        """Return rates and percentiles of the window that ends at ``steady_ns``."""
        with self._lock:
            for arrivals in self._arrivals.values():
                _forget(arrivals, steady_ns)
            outputs = [output for output in self._outputs if steady_ns - output.steady_ns <= WINDOW_NS]
            rates = {camera: _rate_hz(arrivals, steady_ns) for camera, arrivals in self._arrivals.items()}
            last_arrival_ns, last_output = dict(self._last_arrival_ns), self._last_output
        offsets = [abs(output.offset_ns) * 1e-6 for output in outputs if output.offset_ns is not None]
        ages = [output.age_ms for output in outputs]
        inference = [output.inference_ms for output in outputs]
        return Summary(
            rates,
            last_arrival_ns,
            _rate_hz([output.steady_ns for output in outputs], steady_ns),
            last_output,
            *_percentiles(offsets),
            *_percentiles(ages),
            *_percentiles(inference),
        )


def _forget(times_ns: deque[int], now_ns: int) -> None:
    while times_ns and now_ns - times_ns[0] > WINDOW_NS:
        times_ns.popleft()


def _rate_hz(times_ns: Sequence[int], now_ns: int) -> float:
    """Return the events per second since the first event of the window. The rate falls once events stop."""
    if len(times_ns) < 2:
        return 0.0
    return (len(times_ns) - 1) * 1e9 / max(now_ns - times_ns[0], SHORTEST_SPAN_NS)


def _percentiles(values: list[float]) -> tuple[float | None, float | None]:
    if not values:
        return None, None
    p50, p95 = np.percentile(values, (50, 95))
    return float(p50), float(p95)
