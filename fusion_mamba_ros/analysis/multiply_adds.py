# SPDX-License-Identifier: Apache-2.0
"""Count the multiply-adds of a module, with the selective scan by a formula and everything else by torch's counter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode

_CONVOLUTION, _ATTENTION, _SCAN = "convolution", "attention", "selective_scan"


@dataclass(frozen=True)
class MultiplyAdds:
    """Multiply-adds of one forward pass, by kind of operation, and the exponentials of the scan.

    A multiplication with the addition that follows it counts as one. Element-wise operations outside the scan
    (activations, norms, gates, pooling) are not counted, as is usual. ``scan_exponentials`` are the scan's calls of
    exp; the multiply-adds do not contain them.
    """

    convolution: int
    matrix: int
    attention: int
    scan: int
    scan_exponentials: int

    @property
    def total(self) -> int:
        """The sum of all multiply-adds."""
        return self.convolution + self.matrix + self.attention + self.scan

    def to_dict(self) -> dict[str, int]:
        """Return the counts and their total as plain values."""
        return {**vars(self), "total": self.total}


def scan_multiply_adds(batch: int, directions: int, channels: int, pixels: int, state_size: int) -> int:
    """Return the multiply-adds of a selective scan: (4 N + 2) for each pixel of each channel and direction.

    For each state n: dt A_n, exp(dt A_n) h_n, (dt u) B_n and h_n C_n. Once: dt u and D u.
    """
    return batch * directions * channels * pixels * (4 * state_size + 2)


def scan_exponentials(batch: int, directions: int, channels: int, pixels: int, state_size: int) -> int:
    """Return the scan's calls of exp: one for each state, and one in the softplus of the step size."""
    return batch * directions * channels * pixels * (state_size + 1)


def _own_exponentials(decay: str, state_size: int) -> int:
    """Return how many states have an exponential of their own: with `power` one of four, with `scalar` one of all."""
    return {"power": state_size // 4 + state_size % 4, "scalar": 1}.get(decay, state_size)


def count_multiply_adds(module: nn.Module, *inputs: Tensor | Mapping[str, Tensor]) -> MultiplyAdds:
    """Return the multiply-adds of ``module(*inputs)``; only shapes are computed, on fake tensors."""
    exponentials = 0

    def scan_flops(u: Any, delta: Any, A: Any, B: Any, *rest: Any, out_shape: Any = None, **named: Any) -> int:
        nonlocal exponentials
        batch, directions, channels, height, width = delta
        sizes, state_size = (batch, directions, channels, height * width), B[2]
        # PyTorch leaves out the form of decay if it is the default.
        exponentials += scan_exponentials(*sizes, _own_exponentials(str(rest[-1]), state_size))
        return 2 * scan_multiply_adds(*sizes, state_size)

    scans = (torch.ops.fusion_mamba.selective_scan_2d, torch.ops.fusion_mamba.selective_scan_2d_with_states)
    # Torch has no formula for its attention on a CPU.
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    formulas: dict[Any, Any] = {**dict.fromkeys(scans, scan_flops), attention: _attention_flops}
    counter = FlopCounterMode(display=False, custom_mapping=formulas)
    fake = FakeTensorMode()
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    with torch.no_grad():
        state: dict[str, Tensor] = {name: fake.from_tensor(tensor.detach()) for name, tensor in tensors.items()}
        arguments = tree_map_only(Tensor, fake.from_tensor, inputs)
        with fake, counter:
            torch.func.functional_call(module, state, arguments)
    kinds = dict.fromkeys((_CONVOLUTION, "matrix", _ATTENTION, _SCAN), 0)
    for operator, flops in counter.get_flop_counts().get("Global", {}).items():
        name = str(operator)
        kind = next((kind for kind in (_CONVOLUTION, _ATTENTION, _SCAN) if kind in name), "matrix")
        kinds[kind] += flops // 2
    return MultiplyAdds(kinds[_CONVOLUTION], kinds["matrix"], kinds[_ATTENTION], kinds[_SCAN], exponentials)


def _attention_flops(query: Any, key: Any, value: Any, *rest: Any, out_shape: Any = None, **named: Any) -> int:
    """Return twice the products of softmax(Q K^T) V for shapes (B, heads, T, d)."""
    batch, heads, asked, size = query
    operations: int = 2 * batch * heads * asked * key[2] * (size + value[3])
    return operations
