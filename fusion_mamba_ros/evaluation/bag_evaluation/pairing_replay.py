# SPDX-License-Identifier: Apache-2.0
"""Feed recorded frames to `Pairing` at their recorded receive times, and note the fate of every frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fusion_mamba_ros.evaluation.bag_evaluation.frame_record import SkipReason
from fusion_mamba_ros.streams.frames import Camera, Frame, LoneFrame, Pair
from fusion_mamba_ros.streams.pairing import Pairing
from fusion_mamba_ros.streams.pairing_counters import QueueCounters
from fusion_mamba_ros.streams.pairing_limits import PairingLimits

# The timer of the node does not fire earlier than this after its last call.
_SHORTEST_WAIT_NS = 1_000_000


@dataclass(slots=True, eq=False)
class FrameFate:
    """One image message of the bag and its fate.

    ``reason`` is None for a frame that pairing released, alone or in a pair (``paired``). ``message`` is one sentence
    about a fault. ``stamp_ns`` is None if the message cannot be read.
    """

    camera: str
    stamp_ns: int | None
    received_ns: int
    reason: SkipReason | None = SkipReason.UNPAIRED
    paired: bool = False
    message: str | None = None

    def corrupt(self, message: str) -> None:
        """Note that the frame cannot be decoded."""
        self.reason, self.message, self.paired = SkipReason.CORRUPT, message, False


@dataclass(frozen=True, slots=True, eq=False)
class RecordedFrame:
    """Payload of a frame in pairing: its fate, and its image or message in any form."""

    fate: FrameFate
    content: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class ReleasedResult:
    """A pair or a frame alone, of `RecordedFrame` payloads, and the recorded time at which pairing released it."""

    item: Pair | LoneFrame
    released_ns: int

    @property
    def frames(self) -> tuple[RecordedFrame, ...]:
        """The frames of the result, RGB first."""
        return tuple(frame.payload for frame in self.item.frames)


class PairingReplay:
    """Replay of the pairing of a live node.

    Between two messages, pairing is called at the times at which the timer of the node would call it.
    """

    def __init__(self, limits: PairingLimits) -> None:
        self._pairing = Pairing(limits)
        self._now_ns: int | None = None
        self._last_output_ns = 0
        self._latest: dict[Camera, FrameFate] = {}

    @property
    def clock_jumps(self) -> int:
        """Jumps back of a stamp or of the receive times."""
        return self._pairing.counters().clock_jumps

    def add(self, frame: RecordedFrame, *, fresh: bool = True) -> Iterator[ReleasedResult]:
        """Add a frame with a stamp. Yield the results that are final before it and with it."""
        fate = frame.fate
        assert fate.stamp_ns is not None
        camera = Camera(fate.camera)
        yield from self._wake_until(fate.received_ns)
        if not fresh:
            fate.reason = SkipReason.FROZEN
        if fate.stamp_ns <= 0:
            fate.reason = SkipReason.REFUSED
        added = Frame(camera, fate.stamp_ns, fate.received_ns, frame, fresh)
        if self._is_usual(fate.stamp_ns, self._latest.get(camera)):
            self._pairing.add(added)
        else:
            before = self._counters(camera)
            self._pairing.add(added)
            self._note_reason(camera, fate, before, self._counters(camera))
        self._latest[camera] = fate
        yield from self._match(fate.received_ns)

    def finish(self) -> Iterator[ReleasedResult]:
        """Yield the results of the frames that still wait."""
        yield from self._wake_until(None)

    def _wake_until(self, end_ns: int | None) -> Iterator[ReleasedResult]:
        while True:
            wakeup_ns = self._pairing.next_wakeup_ns()
            if wakeup_ns is None or self._now_ns is None:
                return
            wakeup_ns = max(wakeup_ns, self._now_ns + _SHORTEST_WAIT_NS)
            if end_ns is not None and wakeup_ns > end_ns:
                return
            yield from self._match(wakeup_ns)

    def _match(self, now_ns: int) -> Iterator[ReleasedResult]:
        self._now_ns = now_ns
        for item in self._pairing.match(now_ns=now_ns):
            for frame in item.frames:
                frame.payload.fate.reason = None
                frame.payload.fate.paired = isinstance(item, Pair)
            self._last_output_ns = item.stamp_ns
            yield ReleasedResult(item, now_ns)

    def _is_usual(self, stamp_ns: int, previous: FrameFate | None) -> bool:
        """Return whether a frame surely is neither late nor refused, so that the counters need not be compared."""
        if previous is None or previous.stamp_ns is None or stamp_ns <= self._last_output_ns:
            return False
        return 0 < stamp_ns - previous.stamp_ns < self._pairing.limits.max_age_ns

    def _counters(self, camera: Camera) -> QueueCounters:
        counters: QueueCounters = getattr(self._pairing.counters(), camera.value)
        return counters

    def _note_reason(self, camera: Camera, fate: FrameFate, before: QueueCounters, after: QueueCounters) -> None:
        """Note the reason that the counters tell for the frame just added, or for the one that was held back."""
        if after.late > before.late and fate.reason is SkipReason.UNPAIRED:
            fate.reason = SkipReason.LATE
        previous = self._latest.get(camera)
        # A frame ahead of the clock is held back until the next frame of its camera decides about it.
        refused = after.refused - before.refused - (fate.reason is SkipReason.REFUSED)
        if refused > 0 and previous is not None and previous.reason is SkipReason.UNPAIRED:
            previous.reason = SkipReason.REFUSED
