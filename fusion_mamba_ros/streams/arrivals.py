# SPDX-License-Identifier: Apache-2.0
"""Track the frames of one camera: their queue, the measured period and jumps of the stamps."""

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
    """Classification of a new frame by its stamp."""

    IN_ORDER = "in order"
    LATE = "late"
    JUMPED_BACK = "jumped back"
    AHEAD = "ahead of its time"


class Arrivals:
    """The frames of one camera, in the order of their stamps.

    ``queue`` holds the frames that wait for a partner. ``held`` is a frame whose stamp ran ahead of the clock. The next
    frame decides: either the camera's clock jumped (then both frames are accepted), or the stamp of the held frame was
    wrong. All stamps are on the camera's own clock.
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
        """Compare the stamp of ``frame`` with the frames before it and return the verdict. Does not store the frame.

        A stamp that steps back by at most ``tolerance_ns`` is LATE if the same stamp is already queued, or if a frame
        with the same or a newer stamp has already left the queue. It is JUMPED_BACK if it follows two late frames and
        the three stamps increase. Otherwise it is IN_ORDER.
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
        """Return whether ``frame`` follows ``held`` in order: its stamp is newer and not ahead of the clock."""
        held = self.held
        return held is not None and frame.stamp_ns > held.stamp_ns and not _ahead(frame, held, tolerance_ns)

    def note(self, frame: Frame) -> None:
        """Update the period and the newest stamp from a frame that is in order."""
        newest = self._newest
        if newest is None or frame.stamp_ns > newest.stamp_ns:
            if newest is not None:
                self._intervals_ns.append(frame.stamp_ns - newest.stamp_ns)
            self._newest = frame
        self._late_in_a_row.clear()
        self._recent.append((frame.stamp_ns, frame.arrival_ns))

    def note_late(self, frame: Frame) -> None:
        """Store the stamp of a late frame. Several late frames in a row mean that the clock went back a little."""
        self._late_in_a_row = [*self._late_in_a_row[-1:], frame.stamp_ns]

    def had_frame_near(self, stamp_ns: int, max_offset_ns: int, newest: int, arrived_after_ns: int) -> bool:
        """Return whether a recent frame has a stamp within ``max_offset_ns`` of ``stamp_ns``.

        The search covers the last ``newest`` frames that arrived after ``arrived_after_ns``.
        """
        for other_ns, arrival_ns in islice(reversed(self._recent), newest):
            if arrival_ns <= arrived_after_ns:
                return False
            if abs(other_ns - stamp_ns) <= max_offset_ns:
                return True
        return False

    def insert(self, frame: Frame) -> None:
        """Insert a frame into the queue, which is sorted by stamp."""
        self.queue.insert(bisect_left(self.queue, frame.stamp_ns, key=lambda f: f.stamp_ns), frame)

    def take(self, index: int) -> tuple[Frame, int]:
        """Remove frame ``index`` and all older frames. Return the frame and the number of older frames."""
        frame = self.queue[index]
        del self.queue[: index + 1]
        self._used_stamp_ns = frame.stamp_ns
        return frame, index

    def drop_oldest(self, count: int) -> int:
        """Remove the ``count`` oldest frames and return how many were removed."""
        return 0 if count <= 0 else self.take(min(count, len(self.queue)) - 1)[1] + 1

    def restart(self) -> int:
        """Forget all stamps after a jump of the clock, and return the number of dropped queued frames."""
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
        """Lower quartile of the recent intervals, None until there are enough intervals.

        The lower quartile is robust to lost frames, which lengthen some intervals.
        """
        count = len(self._intervals_ns)
        return sorted(self._intervals_ns)[count // 4] if count >= INTERVALS_NEEDED else None

    @property
    def next_expected_ns(self) -> int | None:
        """Earliest expected stamp of the next frame, None if unknown.

        It is the newest stamp plus ``shortest - (period - shortest)``, where ``shortest`` is the shortest recent
        interval. It is never earlier than the newest stamp.
        """
        period_ns = self.period_ns
        if period_ns is None or self._newest is None:
            return None
        shortest_ns = min(self._intervals_ns)
        return self._newest.stamp_ns + max(0, 2 * shortest_ns - period_ns)


def _ahead(frame: Frame, before: Frame, tolerance_ns: int) -> bool:
    """Return whether the stamp advanced more than the node's clock since ``before``, by over ``tolerance_ns``."""
    return frame.stamp_ns - before.stamp_ns > max(0, frame.arrival_ns - before.arrival_ns) + tolerance_ns
