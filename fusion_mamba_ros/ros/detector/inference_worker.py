# SPDX-License-Identifier: Apache-2.0
"""The thread that runs inference, always on the newest item."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class InferenceWorker(Generic[Item]):
    """Call ``process`` with one item at a time in a thread. While it is busy, only the newest item waits.

    The thread passes an exception of ``process`` to ``on_error`` and continues.
    """

    def __init__(self, process: Callable[[Item], None], *, on_error: Callable[[Exception], None]) -> None:
        self._process = process
        self._on_error = on_error
        self._waiting: Item | None = None
        self._stopping = False
        self._changed = threading.Condition()
        # A daemon thread: a CUDA or CPU kernel that cannot be interrupted must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def submit(self, item: Item) -> Item | None:
        """Make ``item`` the next one. Return the waiting item that it replaced, if any. Never waits for inference."""
        with self._changed:
            replaced, self._waiting = self._waiting, item
            self._changed.notify()
        return replaced

    def stop(self, *, timeout_sec: float) -> bool:
        """Discard the waiting item and end the thread after its current one. Return whether it ended in time."""
        with self._changed:
            self._stopping, self._waiting = True, None
            self._changed.notify()
        self._thread.join(timeout_sec)
        return not self._thread.is_alive()

    def detach(self) -> None:
        """Drop ``on_error``: a thread that never ends must not keep alive what the callback refers to."""
        self._on_error = lambda _: None

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._waiting is not None)
                if self._stopping:
                    return
                item, self._waiting = self._waiting, None
            assert item is not None
            try:
                self._process(item)
            except Exception as error:
                self._on_error(error)
            del item  # An idle thread must not keep two images alive.
