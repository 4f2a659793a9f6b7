# SPDX-License-Identifier: Apache-2.0
"""Refuse network outputs that hold NaN or infinity: thresholding would turn them into "no objects"."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


class NonFiniteOutputError(ValueError):
    """The network's output holds NaN or infinity; the message is one sentence with the remedy."""


def are_finite(levels: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return a boolean scalar, on the device of ``levels``: whether all of their values are finite.

    A float32 sum is a third of the cost of `torch.isfinite` on every value. NaN and infinity never leave a sum finite;
    finite values overflow it only near 1e33, which no working network puts out.
    """
    sums = torch.stack([level.sum(dtype=torch.float32) for level in levels])
    return torch.isfinite(sums).all()


def cause_of_non_finite_output(model: nn.Module, dtype: torch.dtype | None) -> str:
    """Return in one sentence why the output of ``model``, run in autocast ``dtype`` (None: float32), is not finite."""
    symptom = "the network's output is not finite (NaN or infinity)"
    damaged = [name for name, tensor in model.state_dict().items() if not torch.isfinite(tensor).all()]
    if damaged:
        return (
            f"{symptom}: {len(damaged)} of its weight tensors hold NaN or infinity, the first is '{damaged[0]}': "
            "use another checkpoint"
        )
    if dtype is torch.float16:
        return f"{symptom} in precision fp16: try precision bf16 or fp32"
    if dtype is torch.bfloat16:
        return f"{symptom} in precision bf16: try precision fp32"
    return f"{symptom}: its activations overflow in fp32, use another checkpoint"
