# SPDX-License-Identifier: Apache-2.0
"""Lower bounds to which scan.py compares the kernel: the C loops of scan_bounds.c."""

from __future__ import annotations

import ctypes
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from fusion_mamba_ros.network.selective_scan import build, cpu
from fusion_mamba_ros.network.selective_scan.threads import parallel_function


class ScanBounds:
    """Do only a part of the arithmetic of a scan, compiled for this machine, on the same threads as the kernel."""

    def __init__(self, folder: Path) -> None:
        self.lanes = {"avx512": 16, "avx2": 8}.get(cpu.instruction_set() or "", 4)
        library, here = folder / "scan_bounds.so", Path(__file__).parent
        native = [] if platform.machine() == "aarch64" else ["-march=native"]
        flags = [*build.FLAGS, *native, f"-DLANES={self.lanes}", "-I", str(build.PACKAGE / "kernel"), "-shared"]
        subprocess.run([*build.compiler(), *flags, "-o", str(library), str(here / "scan_bounds.c")], check=True)
        self._library = ctypes.CDLL(str(library))
        parallel = parallel_function()
        if parallel is None:
            raise RuntimeError("torch has no OpenMP runtime, which the lower bound needs: install a torch with OpenMP")
        signature = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
        self._parallel = signature(parallel)

    def exponentials(self, elements: int) -> None:
        """Evaluate about ``elements`` exponentials."""
        self._run(self._library.exponentials_of_thread, elements)

    def multiply_adds(self, elements: int) -> None:
        """Compute the 9 multiply-adds of each of about ``elements`` (channel, step, state) elements."""
        self._run(self._library.multiply_adds_of_thread, elements)

    def _run(self, body: Any, elements: int) -> None:
        threads = torch.get_num_threads()
        vectors = ctypes.c_int64(elements // self.lanes // threads)
        self._parallel(ctypes.cast(body, ctypes.c_void_p), ctypes.byref(vectors), threads, 0)
