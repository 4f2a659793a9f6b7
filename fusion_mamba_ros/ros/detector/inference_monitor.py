# SPDX-License-Identifier: Apache-2.0
"""Monitor the inference thread: its current stage, its usual time and its last failure."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

# Number of inference times that are kept. Until FEWEST_TIMES have run, the warm-up times are used.
TIMES_KEPT = 50
FEWEST_TIMES = 20
AUTOMATIC_TIMEOUT_FACTOR = 10.0
LEAST_AUTOMATIC_TIMEOUT_SEC = 2.0


@dataclass(frozen=True)
class InferenceActivity:
    """The inference thread at one moment.

    ``stage`` is the current stage, or None while the thread waits for a pair. ``stage_sec`` is the time since that
    stage began. ``typical_sec`` is the p95 of the inferences that succeeded. Until enough have run, it is the p95 of
    the warm-up, or the shortest inference if that took longer. It is None if there was no warm-up either.
    ``non_finite`` counts the inferences since activation whose output contained NaN or infinity; they also count as
    failures. ``contributions_sec`` is the p95 of the times for the contributions, which follow the published array; 0
    without them.
    """

    stage: str | None = None
    stage_sec: float = 0.0
    typical_sec: float | None = None
    failures_in_a_row: int = 0
    last_failure: str = ""
    non_finite: int = 0
    contributions_sec: float = 0.0

    def timeout_sec(self, set_sec: float) -> float:
        """Return ``set_sec`` or, if it is 0, ten times the longer typical stage but at least two seconds."""
        if set_sec > 0:
            return set_sec
        typical_sec = max(self.typical_sec or 0.0, self.contributions_sec)
        return max(LEAST_AUTOMATIC_TIMEOUT_SEC, AUTOMATIC_TIMEOUT_FACTOR * typical_sec)

    @property
    def pace_sec(self) -> float:
        """Typical time that one array keeps the thread busy, 0 if it is not known."""
        return (self.typical_sec or 0.0) + self.contributions_sec


class InferenceMonitor:
    """Record the activity of the inference thread. Diagnostics can read it even while that thread hangs."""

    def __init__(self, warm_up_sec: Sequence[float] = (), *, steady_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._lock = threading.Lock()
        self._steady_ns = steady_ns
        self._warm_up_sec = tuple(warm_up_sec)
        self._times_sec: deque[float] = deque(maxlen=TIMES_KEPT)
        self._contributions_sec: deque[float] = deque(maxlen=TIMES_KEPT)
        self._stage: str | None = None
        self._since_ns = 0
        self._failures_in_a_row = 0
        self._last_failure = ""
        self._non_finite = 0

    def enter(self, stage: str) -> None:
        """Record that the thread begins ``stage``."""
        with self._lock:
            self._stage, self._since_ns = stage, self._steady_ns()

    def finish(self) -> None:
        """Record that the thread waits for its next pair."""
        with self._lock:
            self._stage = None

    def record_success(self, seconds: float) -> None:
        """Record a successful inference and its time in seconds."""
        with self._lock:
            self._times_sec.append(seconds)
            self._failures_in_a_row = 0

    def record_contributions(self) -> None:
        """Record that the current stage was the contributions and ends now."""
        with self._lock:
            self._contributions_sec.append((self._steady_ns() - self._since_ns) * 1e-9)

    def record_failure(self, reason: str, *, non_finite: bool) -> None:
        """Record a failure. ``non_finite`` says whether the output contained NaN or infinity."""
        with self._lock:
            self._failures_in_a_row += 1
            self._last_failure = reason
            self._non_finite += non_finite

    @property
    def non_finite(self) -> int:
        """Number of inferences whose output contained NaN or infinity."""
        with self._lock:
            return self._non_finite

    def observe(self) -> InferenceActivity:
        """Return the current activity of the thread."""
        with self._lock:
            return InferenceActivity(
                stage=self._stage,
                stage_sec=0.0 if self._stage is None else (self._steady_ns() - self._since_ns) * 1e-9,
                typical_sec=self._typical_sec(),
                failures_in_a_row=self._failures_in_a_row,
                last_failure=self._last_failure,
                non_finite=self._non_finite,
                contributions_sec=_p95(self._contributions_sec) or 0.0,
            )

    def _typical_sec(self) -> float | None:
        if len(self._times_sec) >= FEWEST_TIMES:
            return _p95(self._times_sec)
        warm_up_sec = _p95(self._warm_up_sec)
        # An image in tiles takes many times as long as that of the warm-up. The shortest time: one may have hung.
        known = [seconds for seconds in (warm_up_sec, min(self._times_sec, default=None)) if seconds is not None]
        return max(known, default=None)


def _p95(seconds: Collection[float]) -> float | None:
    # "lower": one inference that hung must not raise the timeout of the next ones.
    return float(np.percentile(tuple(seconds), 95, method="lower")) if seconds else None
