# SPDX-License-Identifier: Apache-2.0
"""Set how long the threads of torch's OpenMP runtime spin before they sleep, for machines that run other processes too.

By default a thread that waits at the end of a parallel region spins for milliseconds before it sleeps. If other
processes are busy, the spinning thread occupies the core that the awaited thread needs. This repeats in each region of
a prediction. Sleeping at once would cost speed on an idle machine, so the policy is a short spin.
"""

from __future__ import annotations

import os

# GNU's runtime, which torch ships: rounds of spinning before a thread sleeps. `benchmarks/contention.py` compares it
# with others; docs/explanation/node-performance.md has the figures.
SPIN_ROUNDS = 1_000
# LLVM's and Intel's runtimes, which torch of conda links: milliseconds before a thread sleeps.
BLOCK_TIME_MS = 1
WAITING_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")


def set_waiting_policy() -> None:
    """Set the waiting policy for this process and its children, unless the user's environment sets one.

    Call this before torch is imported: its OpenMP runtime reads the environment once, when it is loaded.
    """
    if not any(name in os.environ for name in WAITING_VARIABLES):
        os.environ["GOMP_SPINCOUNT"] = str(SPIN_ROUNDS)
        os.environ["KMP_BLOCKTIME"] = str(BLOCK_TIME_MS)
