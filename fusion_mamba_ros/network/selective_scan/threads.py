# SPDX-License-Identifier: Apache-2.0
"""Run the C kernel on torch's OpenMP threads, so that two thread pools never compete for the cores.

torch's CPU operators run on the threads of the OpenMP runtime that torch ships or links. The kernel runs its tasks
through `GOMP_parallel` of that runtime: libgomp's entry point, which libomp and libiomp5 provide too. If no runtime is
found, the kernel starts threads for one call and joins them. It does the same in a forked child, because the child's
copy of the thread pool has no threads.
"""

from __future__ import annotations

import ctypes
import os
import re
from functools import lru_cache
from pathlib import Path

import torch

_forked = False


def _after_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@lru_cache(maxsize=1)
def openmp_runtime() -> Path | None:
    """Return the path of the loaded OpenMP runtime, or None if none is loaded; torch's own copy is preferred."""
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:
        return None
    loaded = sorted(set(re.findall(r"\S*/lib(?:gomp|iomp5|omp)[-.\w]*\.so[.\d]*", maps)))
    of_torch = [path for path in loaded if Path(path).is_relative_to(Path(torch.__file__).parent.parent)]
    return Path((of_torch or loaded)[0]) if loaded else None


@lru_cache(maxsize=1)
def _openmp_parallel() -> int | None:
    runtime = openmp_runtime()
    if runtime is None:
        return None
    try:
        return ctypes.cast(ctypes.CDLL(str(runtime)).GOMP_parallel, ctypes.c_void_p).value
    except (OSError, AttributeError):
        return None


def parallel_function() -> int | None:
    """Return the address of ``GOMP_parallel``, or None if the kernel must start its own threads."""
    return None if _forked else _openmp_parallel()
