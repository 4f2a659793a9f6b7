# SPDX-License-Identifier: Apache-2.0
"""One camera as it arrives: its queue, its measured period, and stamps that jump."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from enum import Enum
from itertools import islice

from fusion_mamba_ros.streams.frames import Frame

INTERVALS_KEPT = 32
INTERVALS_NEEDED = 8
STAMPS_KEPT = 64


class Verdict(Enum):
    """What the stamp of a new frame says about it."""

    IN_ORDER = "in order"
    LATE = "late"
    JUMPED_BACK = "jumped back"
    AHEAD = "ahead of its time"


class Arrivals:
    """The frames of one camera, in the order of their stamps.

    ``queue`` holds what waits for a partner. ``held`` is a frame whose stamp ran ahead of the clock; the next frame
    tells whether the camera's clock jumped (then both count) or the one stamp was wrong. Stamps are the camera's own.
    """

    def __init__(self) -> None:
        self.queue: list[Frame] = []
        self.held: Frame | None = None
        self._recent: deque[tuple[int, int]] = deque(maxlen=STAMPS_KEPT)
        self._newest: Frame | None = None
        self._used_stamp_ns: int | None = None
        self._late_in_a_row: list[int] = []
        self._intervals_ns: deque[int] = deque(maxlen=INTERVALS_KEPT)

    def judge(self, frame: Frame, tolerance_ns: int) -> Verdict:
        """Return how the stamp of ``frame`` stands to the frames before it, without taking it in.

        A step back of up to ``tolerance_ns`` is a late frame, unless it is the third in a row.
        """
        newest = self._newest
        if newest is None:
            return Verdict.IN_ORDER
        if _ahead(frame, newest, tolerance_ns):
            return Verdict.AHEAD
        if frame.stamp_ns > newest.stamp_ns:
            return Verdict.IN_ORDER
        if frame.stamp_ns < newest.stamp_ns - tolerance_ns:
            return Verdict.JUMPED_BACK
        late = self._late_in_a_row
        if len(late) >= 2 and late[-2] < late[-1] < frame.stamp_ns < newest.stamp_ns:
            return Verdict.JUMPED_BACK
        used = self._used_stamp_ns
        if (used is not None and frame.stamp_ns <= used) or any(f.stamp_ns == frame.stamp_ns for f in self.queue):
            return Verdict.LATE
        return Verdict.IN_ORDER

    def continues_held(self, frame: Frame, tolerance_ns: int) -> bool:
        """Return whether ``frame`` goes on where ``held`` left off."""
        held = self.held
        return held is not None and frame.stamp_ns > held.stamp_ns and not _ahead(frame, held, tolerance_ns)

    def note(self, frame: Frame) -> None:
        """Learn from a frame that is in order: period and newest stamp."""
        newest = self._newest
        if newest is None or frame.stamp_ns > newest.stamp_ns:
            if newest is not None:
                self._intervals_ns.append(frame.stamp_ns - newest.stamp_ns)
            self._newest = frame
        self._late_in_a_row.clear()
        self._recent.append((frame.stamp_ns, frame.arrival_ns))

    def note_late(self, frame: Frame) -> None:
        """Remember a late frame: several in a row are a clock that went back a little."""
        self._late_in_a_row = [*self._late_in_a_row[-1:], frame.stamp_ns]

    def had_frame_near(self, stamp_ns: int, max_offset_ns: int, newest: int, arrived_after_ns: int) -> bool:
        """Return whether one of the ``newest`` frames that arrived since then has a stamp so near."""
        for other_ns, arrival_ns in islice(reversed(self._recent), newest):
            if arrival_ns <= arrived_after_ns:
                return False
            if abs(other_ns - stamp_ns) <= max_offset_ns:
                return True
        return False

    def insert(self, frame: Frame) -> None:
        """Queue a frame by its stamp."""
        self.queue.insert(bisect_left(self.queue, frame.stamp_ns, key=lambda f: f.stamp_ns), frame)

    def take(self, index: int) -> tuple[Frame, int]:
        """Remove and return frame ``index`` with the number of older frames removed with it."""
        frame = self.queue[index]
        del self.queue[: index + 1]
        self._used_stamp_ns = frame.stamp_ns
        return frame, index

    def drop_oldest(self, count: int) -> int:
        """Remove the ``count`` oldest frames and return how many there were."""
        return 0 if count <= 0 else self.take(min(count, len(self.queue)) - 1)[1] + 1

    def restart(self) -> int:
        """Forget all stamps, as after a jump of the clock, and return how many queued frames were given up."""
        count = len(self.queue)
        self.queue.clear()
        self._recent.clear()
        self._intervals_ns.clear()
        self._late_in_a_row.clear()
        self._newest = None
        self._used_stamp_ns = None
        return count

    @property
    def period_ns(self) -> int | None:
        """Lower quartile of the recent intervals, since lost frames lengthen some; None until enough have come."""
        count = len(self._intervals_ns)
        return sorted(self._intervals_ns)[count // 4] if count >= INTERVALS_NEEDED else None

    @property
    def next_expected_ns(self) -> int | None:
        """Earliest stamp to expect next, None if unknown.

        That is the shortest recent interval on, less its distance to the period.
        """
        period_ns = self.period_ns
        if period_ns is None or self._newest is None:
            return None
        shortest_ns = min(self._intervals_ns)
        return self._newest.stamp_ns + max(0, 2 * shortest_ns - period_ns)


def _ahead(frame: Frame, before: Frame, tolerance_ns: int) -> bool:
    """Return whether the stamp moved on by more than the clock did since ``before``."""
    return frame.stamp_ns - before.stamp_ns > max(0, frame.arrival_ns - before.arrival_ns) + tolerance_ns
