# SPDX-License-Identifier: Apache-2.0
"""Count the outcome of every received frame."""

from __future__ import annotations

from dataclasses import dataclass, field, fields


@dataclass
class QueueCounters:
    """Frame counters of one camera. At any time ``received`` is the sum of the other six.

    ``paired``    released in a pair
    ``alone``     released without a partner, while the other camera was missing
    ``unpaired``  no partner: surplus, frozen, too old, dropped from a full queue, or dropped at a jump of the clock
    ``late``      the same or a newer stamp was already released or dropped, or the same stamp was already queued
    ``refused``   zero stamp, stamp ahead of the clock, or undecodable
    ``queued``    still waiting
    """

    received: int = 0
    paired: int = 0
    alone: int = 0
    unpaired: int = 0
    late: int = 0
    refused: int = 0
    queued: int = 0

    @property
    def accounted(self) -> int:
        """Sum of the other six counters, which equals ``received``."""
        total: int = sum(getattr(self, f.name) for f in fields(self))
        return total - self.received


@dataclass
class PairingCounters:
    """Counters of both cameras. ``clock_jumps`` counts jumps back of a stamp or the clock, which clear the queues."""

    rgb: QueueCounters = field(default_factory=QueueCounters)
    thermal: QueueCounters = field(default_factory=QueueCounters)
    clock_jumps: int = 0
