# SPDX-License-Identifier: Apache-2.0
"""Keep the last frames of one camera and select the one that is nearest in time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class NearestFrameCounters:
    """Fields and meaning are those of `FurtherModality.msg`: ``received`` is the sum of the others."""

    received: int = 0
    used: int = 0
    unused: int = 0
    refused: int = 0
    waiting: int = 0


@dataclass(eq=False)
class StampedFrame:
    """One frame: the camera's stamp, and the message or whatever the caller wants back."""

    stamp_ns: int
    payload: Any
    used: bool = False


class NearestFrames:
    """A short queue of frames. The oldest arrival leaves a full queue, so a clock may jump back.

    Not thread-safe: the caller locks.
    """

    def __init__(self, queue_size: int) -> None:
        self._frames: deque[StampedFrame] = deque()
        self._queue_size = queue_size
        self._received = self._used = self._unused = self._refused = 0

    @property
    def queue_size(self) -> int:
        """Frames kept; a smaller size takes effect at once."""
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
        """Count a frame that is not kept because it is malformed."""
        self._received += 1
        self._refused += 1

    def select(self, stamp_ns: int, max_offset_ns: int) -> StampedFrame | None:
        """Return the frame nearest to ``stamp_ns``, at most ``max_offset_ns`` away; of equally near ones the newest.

        The frame stays in the queue: a slow camera's frame may serve several times.
        """
        nearest = min(reversed(self._frames), key=lambda frame: abs(frame.stamp_ns - stamp_ns), default=None)
        if nearest is None or abs(nearest.stamp_ns - stamp_ns) > max_offset_ns:
            return None
        return nearest

    def mark_used(self, frame: StampedFrame) -> None:
        """Count ``frame`` as used, once; also if it has left the queue meanwhile."""
        if frame.used:
            return
        frame.used = True
        self._used += 1
        if frame not in self._frames:
            self._unused -= 1

    def refuse(self, frame: StampedFrame) -> None:
        """Remove ``frame``, which was selected just now: it cannot be decoded. It counts as refused only."""
        self._refused += 1
        if frame.used:
            self._used -= 1
        elif frame not in self._frames:
            self._unused -= 1
        if frame in self._frames:
            self._frames.remove(frame)

    def counters(self) -> NearestFrameCounters:
        """Return the outcome of every frame so far."""
        waiting = sum(not frame.used for frame in self._frames)
        return NearestFrameCounters(self._received, self._used, self._unused, self._refused, waiting)

    def _trim(self) -> None:
        while len(self._frames) > self._queue_size:
            self._unused += not self._frames.popleft().used
