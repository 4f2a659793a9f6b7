# SPDX-License-Identifier: Apache-2.0
"""Lower bound to which scan.py compares the kernel: the C loop of exp_bound.c."""

from __future__ import annotations

import ctypes
import platform
import subprocess
from pathlib import Path

import torch

from fusion_mamba_ros.network.selective_scan import build, cpu
from fusion_mamba_ros.network.selective_scan.threads import parallel_function


class ExpBound:
    """Evaluate only the exponentials of a scan, compiled for this machine, on the same threads as the kernel."""

    def __init__(self, folder: Path) -> None:
        self.lanes = {"avx512": 16, "avx2": 8}.get(cpu.instruction_set() or "", 4)
        library, here = folder / "exp_bound.so", Path(__file__).parent
        native = [] if platform.machine() == "aarch64" else ["-march=native"]
        flags = [*build.FLAGS, *native, f"-DLANES={self.lanes}", "-I", str(build.PACKAGE / "kernel"), "-shared"]
        subprocess.run([*build.compiler(), *flags, "-o", str(library), str(here / "exp_bound.c")], check=True)
        self._library = ctypes.CDLL(str(library))
        self._body = ctypes.cast(self._library.exponentials_of_thread, ctypes.c_void_p)
        parallel = parallel_function()
        if parallel is None:
            raise RuntimeError("torch has no OpenMP runtime, which the lower bound needs: install a torch with OpenMP")
        signature = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
        self._parallel = signature(parallel)

    def __call__(self, elements: int) -> None:
        """Evaluate about ``elements`` exponentials."""
        threads = torch.get_num_threads()
        self._parallel(self._body, ctypes.byref(ctypes.c_int64(elements // self.lanes // threads)), threads, 0)
