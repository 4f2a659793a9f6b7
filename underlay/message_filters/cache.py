# SPDX-License-Identifier: Apache-2.0
"""Cache of the most recent messages."""

from __future__ import annotations

from typing import Any

from rclpy.clock import ClockType
from rclpy.time import Time

from .message_stamp import message_stamp
from .simple_filter import SimpleFilter


class Cache(SimpleFilter):
    """Store the ``cache_size`` most recent messages of the filter ``f`` and forward each message unchanged.

    ``cache_msgs`` is in the order of arrival. All methods look messages up by their stamps.
    """

    def __init__(self, f: SimpleFilter | None, cache_size: int = 1, allow_headerless: bool = False) -> None:
        super().__init__()
        self.cache_size = cache_size
        self.allow_headerless = allow_headerless
        self.cache_msgs: list[Any] = []
        self.cache_times: list[Time] = []
        if f is not None:
            self.connectInput(f)

    def connectInput(self, f: SimpleFilter) -> None:
        """Receive the messages of ``f``."""
        self.incoming_connection = f.registerCallback(self.add)

    def add(self, msg: Any) -> None:
        """Store and forward ``msg``; remove the message that arrived first if the cache is full."""
        stamp = message_stamp(msg, allow_headerless=self.allow_headerless)
        if stamp is None:
            return
        self.cache_msgs.append(msg)
        self.cache_times.append(stamp)
        del self.cache_msgs[: -self.cache_size], self.cache_times[: -self.cache_size]
        self.signalMessage(msg)

    def getInterval(self, from_stamp: Time, to_stamp: Time) -> list[Any]:
        """Return the messages with ``from_stamp`` <= stamp <= ``to_stamp``, sorted by stamp."""
        chosen = [pair for pair in self._by_stamp() if from_stamp <= pair[0] <= to_stamp]
        return [msg for _, msg in chosen]

    def getElemAfterTime(self, stamp: Time) -> Any:
        """Return the oldest message at or after ``stamp``, or None."""
        return next((msg for time, msg in self._by_stamp() if time >= stamp), None)

    def getElemBeforeTime(self, stamp: Time) -> Any:
        """Return the newest message at or before ``stamp``, or None."""
        return next((msg for time, msg in reversed(self._by_stamp()) if time <= stamp), None)

    def getLatestTime(self) -> Time:
        """Return the newest stamp, or time zero if the cache is empty."""
        return max(self.cache_times, key=lambda time: time.nanoseconds, default=Time(clock_type=ClockType.ROS_TIME))

    getLastestTime = getLatestTime

    def getOldestTime(self) -> Time:
        """Return the oldest stamp, or time zero if the cache is empty."""
        return min(self.cache_times, key=lambda time: time.nanoseconds, default=Time(clock_type=ClockType.ROS_TIME))

    def getLast(self) -> Any:
        """Return the message with the newest stamp, or None."""
        return self.getElemAfterTime(self.getLatestTime())

    def _by_stamp(self) -> list[tuple[Time, Any]]:
        return sorted(zip(self.cache_times, self.cache_msgs, strict=True), key=lambda pair: pair[0].nanoseconds)
