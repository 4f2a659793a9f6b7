# SPDX-License-Identifier: Apache-2.0
"""Set the number of CPU threads of PyTorch."""

from __future__ import annotations

from functools import lru_cache


def set_threads(count: int) -> None:
    """Use ``count`` CPU threads in torch and in the selective scan. With 0, use the default number of torch.

    The C kernel of the scan runs on torch's threads and reads their number from torch. The setting applies to all
    threads of the process. Raises ``ValueError`` if ``count`` is negative.
    """
    if count < 0:
        raise ValueError(f"the number of threads is {count}: expected 0 (automatic) or more")
    import torch

    automatic = _automatic()
    torch.set_num_threads(count or automatic)


@lru_cache(maxsize=1)
def _automatic() -> int:
    import torch

    # Torch derives this number from the cores and OMP_NUM_THREADS. Read it before the first change.
    return torch.get_num_threads()
