# SPDX-License-Identifier: Apache-2.0
"""How many CPU threads the network uses."""

from __future__ import annotations

from functools import lru_cache

import torch


def set_threads(count: int) -> None:
    """Use ``count`` CPU threads from now on, in torch and in the selective scan; 0: as torch decides by itself.

    The C kernel of the scan runs on torch's own threads and asks torch for their number. The setting is that of the
    process, whichever thread computes. Raises ``ValueError`` if ``count`` is negative.
    """
    if count < 0:
        raise ValueError(f"the number of threads is {count}: expected 0 (automatic) or more")
    automatic = _automatic()
    torch.set_num_threads(count or automatic)


@lru_cache(maxsize=1)
def _automatic() -> int:
    # What torch chose from the cores and OMP_NUM_THREADS; asked before the first change.
    return torch.get_num_threads()
