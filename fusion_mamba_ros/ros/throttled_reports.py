# SPDX-License-Identifier: Apache-2.0
"""Reports of what goes wrong with every image, often enough to be seen and seldom enough to be read."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

_PERIOD_SEC = 5.0


class ThrottledReports:
    """A logger that lets each kind of sentence through once in five seconds; any thread may report.

    The kind is what stands before the first colon: what happened, and to which camera. (rclpy throttles by the line of
    code that logs: there, the fault of one camera would hide that of the other.)
    """

    def __init__(self, logger: Any, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._next_sec: dict[str, float] = {}

    def warning(self, sentence: str) -> None:
        """Log a warning, unless one of its kind was logged just now."""
        if self._is_due(sentence):
            self._logger.warning(sentence)

    def error(self, sentence: str) -> None:
        """Log an error, unless one of its kind was logged just now."""
        if self._is_due(sentence):
            self._logger.error(sentence)

    def _is_due(self, sentence: str) -> bool:
        kind, now_sec = sentence.partition(":")[0], self._clock()
        if now_sec < self._next_sec.get(kind, now_sec):
            return False
        self._next_sec[kind] = now_sec + _PERIOD_SEC
        return True
