# SPDX-License-Identifier: Apache-2.0
"""Triton kernels of the scan. The import needs triton; `triton_backend` imports this package at first use.

All tensors are float32 and contiguous, in the shapes of ``ScanInputs``. A *walk* is one direction over one map of the
batch. A *step* is a position in the order of the walk; only its address depends on the direction. Tiles are (channels,
states, steps). A step outside the map has delta = 0: it keeps the state and adds nothing to any sum.
"""

from fusion_mamba_ros.network.selective_scan.triton_kernels.backward import backward_kernel, carry_kernel
from fusion_mamba_ros.network.selective_scan.triton_kernels.forward import forward_kernel

__all__ = ["backward_kernel", "carry_kernel", "forward_kernel"]
