# SPDX-License-Identifier: Apache-2.0
"""What the inference thread is doing, for how long, how long it usually takes, and how it last failed."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

# The times of so many inferences are kept; until the fewest have run, those of the warm-up count.
TIMES_KEPT = 50
FEWEST_TIMES = 20
AUTOMATIC_TIMEOUT_FACTOR = 10.0
LEAST_AUTOMATIC_TIMEOUT_SEC = 2.0


@dataclass(frozen=True)
class InferenceActivity:
    """The inference thread at one moment.

    ``stage``: what it is doing, None while it waits for a pair, and ``stage_sec`` for how long. ``typical_sec``: p95 of
    the inferences that succeeded, of the warm-up until enough have run, None before both. ``non_finite``: inferences
    since activation whose output held NaN or infinity; they are among the failures.
    """

    stage: str | None = None
    stage_sec: float = 0.0
    typical_sec: float | None = None
    failures_in_a_row: int = 0
    last_failure: str = ""
    non_finite: int = 0

    def timeout_sec(self, set_sec: float) -> float:
        """Return ``set_sec``; where that is 0, ten times the typical time, at least two seconds."""
        if set_sec > 0:
            return set_sec
        return max(LEAST_AUTOMATIC_TIMEOUT_SEC, AUTOMATIC_TIMEOUT_FACTOR * (self.typical_sec or 0.0))


class InferenceMonitor:
    """Written by the inference thread, read by diagnostics while that thread may hang."""

    def __init__(self, warm_up_sec: Sequence[float] = (), *, steady_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._lock = threading.Lock()
        self._steady_ns = steady_ns
        self._warm_up_sec = tuple(warm_up_sec)
        self._times_sec: deque[float] = deque(maxlen=TIMES_KEPT)
        self._stage: str | None = None
        self._since_ns = 0
        self._failures_in_a_row = 0
        self._last_failure = ""
        self._non_finite = 0

    def enter(self, stage: str) -> None:
        """Note that the thread begins ``stage``."""
        with self._lock:
            self._stage, self._since_ns = stage, self._steady_ns()

    def finish(self) -> None:
        """Note that the thread waits for its next pair."""
        with self._lock:
            self._stage = None

    def record_success(self, seconds: float) -> None:
        """Record an inference that gave detections and how long it took."""
        with self._lock:
            self._times_sec.append(seconds)
            self._failures_in_a_row = 0

    def record_failure(self, reason: str, *, non_finite: bool) -> None:
        """Record an inference that gave none; ``non_finite``: because its output held NaN or infinity."""
        with self._lock:
            self._failures_in_a_row += 1
            self._last_failure = reason
            self._non_finite += non_finite

    @property
    def non_finite(self) -> int:
        """Inferences whose output held NaN or infinity."""
        with self._lock:
            return self._non_finite

    def observe(self) -> InferenceActivity:
        """Return what the thread is doing now."""
        with self._lock:
            times = self._times_sec if len(self._times_sec) >= FEWEST_TIMES else self._warm_up_sec
            return InferenceActivity(
                stage=self._stage,
                stage_sec=0.0 if self._stage is None else (self._steady_ns() - self._since_ns) * 1e-9,
                # "lower": one inference that hung must not lengthen the time that the next may take.
                typical_sec=float(np.percentile(times, 95, method="lower")) if times else None,
                failures_in_a_row=self._failures_in_a_row,
                last_failure=self._last_failure,
                non_finite=self._non_finite,
            )
