# SPDX-License-Identifier: Apache-2.0
"""Keep the latest frames of one camera and select the frame that is nearest in time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class NearestFrameCounters:
    """Frame counters as in `FurtherModality.msg`. ``received`` is the sum of the others."""

    received: int = 0
    used: int = 0
    unused: int = 0
    refused: int = 0
    waiting: int = 0


@dataclass(eq=False)
class StampedFrame:
    """One frame: the camera's stamp, and the message or any other object that the caller wants back."""

    stamp_ns: int
    payload: Any
    used: bool = False


class NearestFrames:
    """A short queue of frames in the order of arrival.

    A full queue drops the frame that arrived first, whatever its stamp. So the queue works even if the clock jumps
    back. The class is not thread-safe: the caller must hold a lock.
    """

    def __init__(self, queue_size: int) -> None:
        self._frames: deque[StampedFrame] = deque()
        self._queue_size = queue_size
        self._received = self._used = self._unused = self._refused = 0

    @property
    def queue_size(self) -> int:
        """Largest number of frames kept. A smaller size takes effect immediately."""
        return self._queue_size

    @queue_size.setter
    def queue_size(self, queue_size: int) -> None:
        self._queue_size = queue_size
        self._trim()

    def add(self, stamp_ns: int, payload: Any) -> None:
        """Append a frame that has just arrived."""
        self._received += 1
        self._frames.append(StampedFrame(stamp_ns, payload))
        self._trim()

    def count_refused(self) -> None:
        """Count a frame that was rejected because it is malformed."""
        self._received += 1
        self._refused += 1

    def select(self, stamp_ns: int, max_offset_ns: int) -> StampedFrame | None:
        """Return the frame nearest to ``stamp_ns`` and at most ``max_offset_ns`` away, None if there is none.

        If several frames are equally near, the last to arrive is returned. The frame stays in the queue, so a frame of
        a slow camera may be selected several times.
        """
        nearest = min(reversed(self._frames), key=lambda frame: abs(frame.stamp_ns - stamp_ns), default=None)
        if nearest is None or abs(nearest.stamp_ns - stamp_ns) > max_offset_ns:
            return None
        return nearest

    def mark_used(self, frame: StampedFrame) -> None:
        """Count ``frame`` as used, at most once. This also works if the frame has left the queue."""
        if frame.used:
            return
        frame.used = True
        self._used += 1
        if frame not in self._frames:
            self._unused -= 1

    def refuse(self, frame: StampedFrame) -> None:
        """Remove a selected ``frame`` that cannot be decoded. It then counts as refused only."""
        self._refused += 1
        if frame.used:
            self._used -= 1
        elif frame not in self._frames:
            self._unused -= 1
        if frame in self._frames:
            self._frames.remove(frame)

    def counters(self) -> NearestFrameCounters:
        """Return the counters of all frames received so far."""
        waiting = sum(not frame.used for frame in self._frames)
        return NearestFrameCounters(self._received, self._used, self._unused, self._refused, waiting)

    def _trim(self) -> None:
        while len(self._frames) > self._queue_size:
            self._unused += not self._frames.popleft().used
