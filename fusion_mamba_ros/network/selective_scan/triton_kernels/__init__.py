# SPDX-License-Identifier: Apache-2.0
"""The Triton kernels of the scan. Importing this needs triton; `triton_backend` does so when a scan asks for it.

All tensors are float32 and dense, in the shapes of ``ScanInputs``. A *walk* is one direction over one map of the batch;
a *step* is a place in its order, and only its address depends on the direction. Tiles are (channels, states, steps).
Out of range, a step has delta = 0: it keeps the state and adds nothing to any sum.
"""

from fusion_mamba_ros.network.selective_scan.triton_kernels.backward import backward_kernel, carry_kernel
from fusion_mamba_ros.network.selective_scan.triton_kernels.forward import forward_kernel

__all__ = ["backward_kernel", "carry_kernel", "forward_kernel"]
