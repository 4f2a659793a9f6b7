# SPDX-License-Identifier: Apache-2.0
"""Run an iterator in a thread, a bounded number of items ahead."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")

_POLL_SEC = 0.1


class Prefetch(Generic[Item]):
    """Iterate over ``items`` in a thread that is at most ``ahead`` items ahead. Use it as a context manager.

    An exception in the thread is raised where the items are consumed. When the context ends, for whatever reason, the
    thread has ended too, unless it is blocked inside ``items``.
    """

    def __init__(self, items: Iterable[Item], *, ahead: int, name: str) -> None:
        self._items = items
        self._queue: queue.Queue[tuple[str, Item | BaseException | None]] = queue.Queue(ahead)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Prefetch[Item]:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def __iter__(self) -> Iterator[Item]:
        while True:
            try:
                kind, value = self._queue.get(timeout=_POLL_SEC)
            except queue.Empty:
                if self._stopped.is_set():
                    return
                continue
            if kind == "end":
                return
            if kind == "error":
                assert isinstance(value, BaseException)
                raise value
            yield value  # type: ignore[misc]

    def _run(self) -> None:
        try:
            for item in self._items:
                if not self._put("item", item):
                    return
            self._put("end", None)
        except BaseException as error:  # noqa: BLE001  # the consumer raises it
            self._put("error", error)

    def _put(self, kind: str, value: Item | BaseException | None) -> bool:
        """Return whether the consumer still takes items."""
        while not self._stopped.is_set():
            try:
                self._queue.put((kind, value), timeout=_POLL_SEC)
            except queue.Full:
                continue
            return True
        return False
