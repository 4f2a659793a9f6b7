# SPDX-License-Identifier: Apache-2.0
"""Throttle log messages about faults that may occur with every image."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

_PERIOD_SEC = 5.0


class ThrottledReports:
    """Log each kind of message at most once in five seconds. Any thread may call the methods.

    The text before the first colon is the kind: the fault and its camera. The throttling of rclpy is not used, because
    it works by line of code, so the fault of one camera would hide the same fault of the other camera. ``sentence``
    completes each message, for example with the name of a camera pair.
    """

    def __init__(
        self,
        logger: Any,
        *,
        sentence: Callable[[str], str] = lambda text: text,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = logger
        self._sentence = sentence
        self._clock = clock
        self._next_sec: dict[str, float] = {}

    def warning(self, sentence: str) -> None:
        """Log a warning, unless one of the same kind was logged within the last five seconds."""
        if self._is_due(sentence):
            self._logger.warning(self._sentence(sentence))

    def error(self, sentence: str) -> None:
        """Log an error, unless one of the same kind was logged within the last five seconds."""
        if self._is_due(sentence):
            self._logger.error(self._sentence(sentence))

    def _is_due(self, sentence: str) -> bool:
        kind, now_sec = sentence.partition(":")[0], self._clock()
        if now_sec < self._next_sec.get(kind, now_sec):
            return False
        self._next_sec[kind] = now_sec + _PERIOD_SEC
        return True
