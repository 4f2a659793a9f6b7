# SPDX-License-Identifier: Apache-2.0
"""Synchronize messages of several topics by their stamps."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from typing import Any

from .message_stamp import message_stamp
from .simple_filter import SimpleFilter


class TimeSynchronizer(SimpleFilter):
    """Forward one message of each filter in ``fs`` together as soon as all messages of one stamp have arrived.

    Each filter has a queue of ``queue_size`` messages. A full queue drops the message with the oldest stamp.
    """

    def __init__(self, fs: Sequence[SimpleFilter], queue_size: int) -> None:
        super().__init__()
        self.queue_size = queue_size
        self.lock = threading.Lock()
        self.queues: list[dict[int, Any]] = []
        self.connectInput(fs)

    def connectInput(self, fs: Sequence[SimpleFilter]) -> None:
        """Receive the messages of ``fs``."""
        self.queues = [{} for _ in fs]
        self.input_connections = [
            f.registerCallback(self.add, queue, index)
            for index, (f, queue) in enumerate(zip(fs, self.queues, strict=True))
        ]

    def add(self, msg: Any, my_queue: dict[int, Any], my_queue_index: int | None = None) -> None:
        """Add ``msg`` to the queue of its filter; forward the set that it completes, if any."""
        stamp = message_stamp(msg, allow_headerless=False)
        if stamp is not None:
            self._add(stamp.nanoseconds, msg, my_queue)

    def _add(self, stamp_ns: int, msg: Any, my_queue: dict[int, Any]) -> None:
        # Callbacks run after the lock is released. So a callback may raise or add a message to this filter.
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
        """Return one stamp for each queue such that the messages form a set with the new one, or None."""
        return [stamp_ns] * len(self.queues) if all(stamp_ns in queue for queue in self.queues) else None


class ApproximateTimeSynchronizer(TimeSynchronizer):
    """Forward one message of each filter in ``fs`` together if their stamps are less than ``slop`` seconds apart.

    The rule is greedy: a new message forms a set with the nearest messages of the other queues, if that set fits. Other
    candidates follow by their distance. With ``allow_headerless`` messages without a header get their arrival time as
    stamp. With ``sync_arrival_time`` all messages do.
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
        """Add ``msg`` to the queue of its filter; forward the set that it completes, if any."""
        stamp = message_stamp(msg, allow_headerless=self.allow_headerless, use_arrival=self.sync_arrival_time)
        if stamp is not None:
            self._add(stamp.nanoseconds, msg, my_queue)

    def _complete_set(self, stamp_ns: int, my_queue: dict[int, Any]) -> Sequence[int] | None:
        if stamp_ns not in my_queue:  # older than all messages of a full queue: already dropped
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
