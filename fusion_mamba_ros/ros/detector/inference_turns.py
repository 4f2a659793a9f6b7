# SPDX-License-Identifier: Apache-2.0
"""Decide which lane is served next when several share the inference threads. Knows no threads and no clock."""

from __future__ import annotations

from typing import Generic, TypeVar

Item = TypeVar("Item")


class Turns(Generic[Item]):
    """The waiting items of several lanes, at most one for each lane: a newer item replaces the one that waits.

    `take` serves the waiting lane that was served longest ago. A waiting lane therefore sees each other lane begin at
    most once before its turn. A lane is served by one thread at a time. Not thread-safe.
    """

    def __init__(self) -> None:
        # In the order in which they were served, the longest ago first.
        self._lanes: list[int] = []
        self._waiting: dict[int, Item] = {}
        self._busy: set[int] = set()
        self._next_lane = 0

    def add_lane(self) -> int:
        """Return the number of a new lane."""
        lane = self._next_lane
        self._next_lane += 1
        self._lanes.append(lane)
        return lane

    def remove_lane(self, lane: int) -> None:
        """Discard a lane and its waiting item. A lane that is being served may be removed."""
        if lane in self._lanes:
            self._lanes.remove(lane)
        self._waiting.pop(lane, None)

    def submit(self, lane: int, item: Item) -> Item | None:
        """Let ``item`` wait in ``lane``. Return the item that it replaced. A removed lane returns ``item`` itself."""
        if lane not in self._lanes:
            return item
        replaced = self._waiting.get(lane)
        self._waiting[lane] = item
        return replaced

    def take(self) -> tuple[int, Item] | None:
        """Return the next lane with its item, and count the lane as busy. None if no lane can be served."""
        for lane in self._lanes:
            if lane in self._waiting and lane not in self._busy:
                self._lanes.remove(lane)
                self._lanes.append(lane)
                self._busy.add(lane)
                return lane, self._waiting.pop(lane)
        return None

    def finish(self, lane: int) -> None:
        """Count ``lane`` as no longer busy."""
        self._busy.discard(lane)

    def is_busy(self, lane: int) -> bool:
        """Return whether an item of ``lane`` is being served."""
        return lane in self._busy
