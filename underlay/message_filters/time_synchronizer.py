# SPDX-License-Identifier: Apache-2.0
"""Messages of several topics that belong to one moment."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from typing import Any

from .message_stamp import message_stamp
from .simple_filter import SimpleFilter


class TimeSynchronizer(SimpleFilter):
    """Passes one message of each filter in ``fs`` on, as soon as all of one stamp are there.

    Each filter has a queue of ``queue_size`` messages by stamp, from which the oldest stamps fall out.
    """

    def __init__(self, fs: Sequence[SimpleFilter], queue_size: int) -> None:
        super().__init__()
        self.queue_size = queue_size
        self.lock = threading.Lock()
        self.queues: list[dict[int, Any]] = []
        self.connectInput(fs)

    def connectInput(self, fs: Sequence[SimpleFilter]) -> None:
        """Take messages from ``fs``."""
        self.queues = [{} for _ in fs]
        self.input_connections = [
            f.registerCallback(self.add, queue, index)
            for index, (f, queue) in enumerate(zip(fs, self.queues, strict=True))
        ]

    def add(self, msg: Any, my_queue: dict[int, Any], my_queue_index: int | None = None) -> None:
        """Take ``msg`` of the filter that ``my_queue`` belongs to; pass a set on if it completes one."""
        stamp = message_stamp(msg, allow_headerless=False)
        if stamp is not None:
            self._add(stamp.nanoseconds, msg, my_queue)

    def _add(self, stamp_ns: int, msg: Any, my_queue: dict[int, Any]) -> None:
        # Callbacks run after the lock is free: one that raises, or feeds this filter again, blocks nobody.
        with self.lock:
            my_queue[stamp_ns] = msg
            while len(my_queue) > self.queue_size:
                del my_queue[min(my_queue)]
            stamps = self._complete_set(stamp_ns, my_queue)
            if stamps is None:
                return
            messages = [queue.pop(stamp) for queue, stamp in zip(self.queues, stamps, strict=True)]
        self.signalMessage(*messages)

    def _complete_set(self, stamp_ns: int, my_queue: dict[int, Any]) -> Sequence[int] | None:
        """Return one stamp for each queue that together make a set with the new one, or None."""
        return [stamp_ns] * len(self.queues) if all(stamp_ns in queue for queue in self.queues) else None


class ApproximateTimeSynchronizer(TimeSynchronizer):
    """Passes one message of each filter in ``fs`` on whose stamps lie less than ``slop`` seconds apart.

    Greedy: the first set that a new message completes, its nearest neighbours first. Messages without a header count by
    their arrival if ``allow_headerless``; all messages do if ``sync_arrival_time``.
    """

    def __init__(
        self,
        fs: Sequence[SimpleFilter],
        queue_size: int,
        slop: float,
        allow_headerless: bool = False,
        sync_arrival_time: bool = False,
    ) -> None:
        self.slop_ns = round(slop * 1e9)
        self.allow_headerless = allow_headerless
        self.sync_arrival_time = sync_arrival_time
        super().__init__(fs, queue_size)

    def add(self, msg: Any, my_queue: dict[int, Any], my_queue_index: int | None = None) -> None:
        """Take ``msg`` of the filter that ``my_queue`` belongs to; pass a set on if it completes one."""
        stamp = message_stamp(msg, allow_headerless=self.allow_headerless, use_arrival=self.sync_arrival_time)
        if stamp is not None:
            self._add(stamp.nanoseconds, msg, my_queue)

    def _complete_set(self, stamp_ns: int, my_queue: dict[int, Any]) -> Sequence[int] | None:
        if stamp_ns not in my_queue:  # older than all of a full queue: it fell out at once
            return None
        candidates = [
            [stamp_ns]
            if queue is my_queue
            else sorted(
                (stamp for stamp in queue if abs(stamp - stamp_ns) < self.slop_ns),
                key=lambda stamp: abs(stamp - stamp_ns),
            )
            for queue in self.queues
        ]
        sets = itertools.product(*candidates)
        return next((stamps for stamps in sets if max(stamps) - min(stamps) < self.slop_ns), None)
