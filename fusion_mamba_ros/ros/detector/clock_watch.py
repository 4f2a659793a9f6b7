# SPDX-License-Identifier: Apache-2.0
"""Detect on the steady clock that the node's clock stands still, for example because /clock stopped."""

from __future__ import annotations


class ClockWatch:
    """Measure for how long the node's clock has stood still.

    Call `stopped_sec` regularly, because it only compares consecutive readings.
    """

    def __init__(self) -> None:
        self._node_ns: int | None = None
        self._moved_ns = 0

    def stopped_sec(self, node_ns: int, steady_ns: int) -> float:
        """Return the steady time, in seconds, since the reading ``node_ns`` last changed."""
        if node_ns != self._node_ns:
            self._node_ns, self._moved_ns = node_ns, steady_ns
        return (steady_ns - self._moved_ns) * 1e-9
