# SPDX-License-Identifier: Apache-2.0
"""Monitor the inference thread: its current stage, its usual time and its last failure."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
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
    stage began. ``typical_sec`` is the p95 of the inferences that succeeded. It is the p95 of the warm-up until enough
    have run, and None if there was no warm-up either. ``non_finite`` counts the inferences since activation whose
    output contained NaN or infinity; they also count as failures.
    """

    stage: str | None = None
    stage_sec: float = 0.0
    typical_sec: float | None = None
    failures_in_a_row: int = 0
    last_failure: str = ""
    non_finite: int = 0

    def timeout_sec(self, set_sec: float) -> float:
        """Return ``set_sec`` or, if it is 0, ten times the typical time but at least two seconds."""
        if set_sec > 0:
            return set_sec
        return max(LEAST_AUTOMATIC_TIMEOUT_SEC, AUTOMATIC_TIMEOUT_FACTOR * (self.typical_sec or 0.0))


class InferenceMonitor:
    """Record the activity of the inference thread. Diagnostics can read it even while that thread hangs."""

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
            times = self._times_sec if len(self._times_sec) >= FEWEST_TIMES else self._warm_up_sec
            return InferenceActivity(
                stage=self._stage,
                stage_sec=0.0 if self._stage is None else (self._steady_ns() - self._since_ns) * 1e-9,
                # "lower": one inference that hung must not raise the timeout of the next ones.
                typical_sec=float(np.percentile(times, 95, method="lower")) if times else None,
                failures_in_a_row=self._failures_in_a_row,
                last_failure=self._last_failure,
                non_finite=self._non_finite,
            )
