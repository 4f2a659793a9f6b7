# SPDX-License-Identifier: Apache-2.0
"""Simulate which results a live node would have dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class LiveRun:
    """Result of a simulation: dropped results (a mask) and the delays of the others, from release to output."""

    dropped: npt.NDArray[np.bool_]
    delay_ms: npt.NDArray[np.float64]


def simulate_live(released_ns: Sequence[int], computing_ms: Sequence[float], *, speed: float = 1.0) -> LiveRun:
    """Return what a node drops that needs ``computing_ms`` for each result and plays the bag at ``speed``.

    Results arrive at ``released_ns``, in order. One result is computed at a time. Only the newest of the others waits:
    a result that arrives while another waits takes its place, and the other is dropped.
    """
    count = len(released_ns)
    # A clock that jumped back must not let results arrive before earlier ones.
    released = np.maximum.accumulate(np.asarray(released_ns, np.int64))
    arrivals = (released - (released[0] if count else 0)) * (1e-6 / speed)
    dropped = np.zeros(count, bool)
    ends_ms = np.full(count, np.nan)
    free_ms = -np.inf
    waiting: int | None = None
    for index in range(count):
        if waiting is not None:
            if free_ms <= arrivals[index]:
                free_ms = ends_ms[waiting] = free_ms + computing_ms[waiting]
                waiting = None
            else:
                dropped[waiting] = True
        if free_ms <= arrivals[index] and waiting is None:
            free_ms = ends_ms[index] = arrivals[index] + computing_ms[index]
            waiting = None
        else:
            waiting = index
    if waiting is not None:
        ends_ms[waiting] = free_ms + computing_ms[waiting]
    return LiveRun(dropped, ends_ms[~dropped] - arrivals[~dropped])
