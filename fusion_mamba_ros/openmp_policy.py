# SPDX-License-Identifier: Apache-2.0
"""How threads of torch's OpenMP runtime wait for each other on a machine that also runs other processes.

By default a thread that waits at the end of a parallel region spins for milliseconds before it sleeps. Beside other
busy processes it then spins in the place of the thread that it waits for, once for each of some hundred regions of one
prediction. A short spin keeps most of the speed of a machine at rest. Measured by ``benchmarks/contention.py``.
"""

from __future__ import annotations

import os

# GNU's runtime, which torch ships: rounds of spinning before a thread sleeps.
SPIN_ROUNDS = 10_000
# LLVM's and Intel's runtimes, which torch of conda links: milliseconds before a thread sleeps.
BLOCK_TIME_MS = 1
_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")


def set_waiting_policy() -> None:
    """Set the waiting policy for this process and its children, unless the user's environment sets one.

    To be called before torch is imported: its OpenMP runtime reads the environment once, when it is loaded.
    """
    if not any(name in os.environ for name in _VARIABLES):
        os.environ["GOMP_SPINCOUNT"] = str(SPIN_ROUNDS)
        os.environ["KMP_BLOCKTIME"] = str(BLOCK_TIME_MS)
