# SPDX-License-Identifier: Apache-2.0
"""Which of the two cameras can be counted on at the moment."""

from __future__ import annotations

from enum import Enum

from fusion_mamba_ros.streams.frames import Frame, Side


class Absence(Enum):
    """Why a camera counts as missing."""

    SILENT = "no fresh image"
    FROZEN = "frozen"
    APART = "stamps that never meet those of the other camera"


class Presence:
    """Knows when each camera last gave a fresh image, and when the two last saw the same moment.

    A side is missing from ``timeout_ns`` after its last fresh image on, and at once while its image is frozen.
    Where both were silent and one begins, the other has that time to begin too, counted from there. Both deliver but
    never at the same moment by their stamps: then a clock is wrong, and thermal counts as missing.
    """

    def __init__(self, start_ns: int) -> None:
        self._fresh_ns = dict.fromkeys(Side, start_ns)
        self._met_ns = start_ns
        self._frozen: set[Side] = set()
        # Sides that have not delivered an image since their timeout was restarted.
        self._awaited = set(Side)

    def note(self, frame: Frame, timeout_ns: int, *, meets_other: bool) -> None:
        """Learn from a frame in order; ``meets_other``: the other side has one within the offset limit."""
        if frame.fresh:
            self._await_other(frame, timeout_ns)
            self._awaited.discard(frame.side)
            self._fresh_ns[frame.side] = frame.arrival_ns
            self._frozen.discard(frame.side)
        else:
            self._frozen.add(frame.side)
        if meets_other:
            self._met_ns = frame.arrival_ns

    def _await_other(self, frame: Frame, timeout_ns: int) -> None:
        """Let the time of the other side begin with this frame, if it ends a silence of both."""
        other, awaited = frame.side.other, self._awaited
        silent = {s for s in Side if frame.arrival_ns >= self._fresh_ns[s] + timeout_ns}
        begins = frame.side in awaited | silent
        # Whoever did not come when awaited is not awaited anew each time that a slow partner gives an image.
        if begins and (other in silent - awaited or len(awaited) == 2):
            self._fresh_ns[other] = self._met_ns = frame.arrival_ns
            awaited.add(other)

    def absences(self, now_ns: int, timeout_ns: int) -> dict[Side, Absence]:
        """Return the sides that are missing at ``now_ns``, each with the reason."""
        absences = {s: Absence.SILENT for s in Side if now_ns >= self._fresh_ns[s] + timeout_ns}
        absences.update(dict.fromkeys(self._frozen, Absence.FROZEN))
        if not absences and now_ns >= self._met_ns + timeout_ns:
            return {Side.THERMAL: Absence.APART}
        return absences

    def missing(self, now_ns: int, timeout_ns: int) -> set[Side]:
        """Return the sides that are missing at ``now_ns``."""
        return set(self.absences(now_ns, timeout_ns))

    def missing_from_ns(self, side: Side, timeout_ns: int) -> int:
        """Return when a side that is there now will be missing if no frame comes."""
        last_ns = self._fresh_ns[side]
        return (min(last_ns, self._met_ns) if side is Side.THERMAL else last_ns) + timeout_ns
