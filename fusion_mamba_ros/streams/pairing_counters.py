# SPDX-License-Identifier: Apache-2.0
"""Where every frame that came in has ended."""

from __future__ import annotations

from dataclasses import dataclass, field, fields


@dataclass
class QueueCounters:
    """Frames of one camera. At any moment ``received`` is the sum of the other six.

    ``paired``    released in a pair, whatever became of it then
    ``alone``     released without partner, while the other camera was missing
    ``unpaired``  no partner: surplus, frozen, too old, pushed out of the queue, or cut off by a jump of the clock
    ``late``      came when its moment had passed
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
        """The sum that equals ``received``."""
        return sum(getattr(self, f.name) for f in fields(self)) - self.received


@dataclass
class PairingCounters:
    """Counters of both sides; ``clock_jumps`` counts how often stamps or clock jumped back and cleared the queues."""

    rgb: QueueCounters = field(default_factory=QueueCounters)
    thermal: QueueCounters = field(default_factory=QueueCounters)
    clock_jumps: int = 0
