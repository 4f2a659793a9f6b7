# SPDX-License-Identifier: Apache-2.0
"""How threads of torch's OpenMP runtime wait for each other on a machine that also runs other processes.

By default a thread that waits at the end of a parallel region spins for milliseconds before it sleeps. Beside other
busy processes it then spins in the place of the thread that it waits for, again for each region of a prediction. A
short spin is between that and sleeping at once, which costs speed on a machine at rest.
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

    To be called before torch is imported: its OpenMP runtime reads the environment once, when it is loaded.
    """
    if not any(name in os.environ for name in WAITING_VARIABLES):
        os.environ["GOMP_SPINCOUNT"] = str(SPIN_ROUNDS)
        os.environ["KMP_BLOCKTIME"] = str(BLOCK_TIME_MS)
