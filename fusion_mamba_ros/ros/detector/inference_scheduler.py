# SPDX-License-Identifier: Apache-2.0
"""Inference threads that several camera pairs share in turns."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from fusion_mamba_ros.ros.detector.inference_turns import Turns

Item = TypeVar("Item")


class InferenceScheduler:
    """``threads`` inference threads that serve lanes in turns. `Turns` has the rule.

    The threads end after `close`; a thread that is inside an inference ends with it.
    """

    def __init__(self, threads: int) -> None:
        self._turns: Turns[Any] = Turns()
        self._lanes: dict[int, InferenceLane[Any]] = {}
        self._closed = False
        self._changed = threading.Condition()
        for number in range(threads):
            # Daemon threads: a CUDA or CPU kernel that cannot be interrupted must not keep the process alive.
            threading.Thread(target=self._run, name=f"inference {number}", daemon=True).start()

    def lane(self, process: Callable[[Item], None], *, on_error: Callable[[Exception], None]) -> InferenceLane[Item]:
        """Return a new lane, whose items go to ``process`` and whose exceptions go to ``on_error``."""
        with self._changed:
            number = self._turns.add_lane()
            lane = self._lanes[number] = InferenceLane(self, number, process, on_error)
        return lane

    def close(self) -> None:
        """Discard all waiting items and let the threads end."""
        with self._changed:
            self._closed = True
            for number in self._lanes:
                self._turns.remove_lane(number)
            self._lanes.clear()
            self._changed.notify_all()

    def _submit(self, number: int, item: Item) -> Item | None:
        with self._changed:
            replaced: Item | None = self._turns.submit(number, item)
            # All, because a thread that waits for the end of a lane wakes too and would swallow a single notice.
            self._changed.notify_all()
        return replaced

    def _remove(self, number: int, timeout_sec: float) -> bool:
        """Remove a lane. Return whether nothing of it is being processed after at most ``timeout_sec``."""
        with self._changed:
            self._turns.remove_lane(number)
            self._lanes.pop(number, None)
            return self._changed.wait_for(lambda: not self._turns.is_busy(number), timeout_sec)

    def _run(self) -> None:
        while True:
            taken: tuple[int, Any] | None = None
            with self._changed:
                while not self._closed and (taken := self._turns.take()) is None:
                    self._changed.wait()
                if taken is None:
                    return
                number, item = taken
                lane = self._lanes[number]
            try:
                lane.process(item)
            except Exception as error:
                lane.on_error(error)
            # An idle thread must not keep two images and a closed session alive.
            del item, taken, lane
            with self._changed:
                self._turns.finish(number)
                self._changed.notify_all()


class InferenceLane(Generic[Item]):
    """The way of one camera pair to the inference threads, with the methods of an `InferenceWorker`."""

    def __init__(
        self,
        scheduler: InferenceScheduler,
        number: int,
        process: Callable[[Item], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._scheduler = scheduler
        self._number = number
        self.process = process
        self.on_error = on_error

    def submit(self, item: Item) -> Item | None:
        """Make ``item`` the next one. Return the waiting item that it replaced, if any. Never waits for inference."""
        return self._scheduler._submit(self._number, item)

    def stop(self, *, timeout_sec: float) -> bool:
        """Discard the waiting item and end the lane after its current one. Return whether it ended in time."""
        return self._scheduler._remove(self._number, timeout_sec)

    def detach(self) -> None:
        """Drop ``on_error``: a thread that never ends must not keep alive what the callback refers to."""
        self.on_error = lambda _: None
