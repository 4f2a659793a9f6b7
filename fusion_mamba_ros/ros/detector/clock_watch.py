# SPDX-License-Identifier: Apache-2.0
"""Notice by the steady clock that the node's clock stands still, as simulated time does when /clock stops."""

from __future__ import annotations


class ClockWatch:
    """Measures for how long the node's clock has not moved; ask it regularly, since it only compares readings."""

    def __init__(self) -> None:
        self._node_ns: int | None = None
        self._moved_ns = 0

    def stopped_sec(self, node_ns: int, steady_ns: int) -> float:
        """Return the seconds of steady time since a reading of the node's clock differed from the one before it."""
        if node_ns != self._node_ns:
            self._node_ns, self._moved_ns = node_ns, steady_ns
        return (steady_ns - self._moved_ns) * 1e-9
