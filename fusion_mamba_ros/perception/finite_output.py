# SPDX-License-Identifier: Apache-2.0
"""Detect network outputs that contain NaN or infinity. Thresholding would turn them into "no objects"."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


class NonFiniteOutputError(ValueError):
    """Raised if the network's output contains NaN or infinity. The message is one sentence with the remedy."""


def are_finite(levels: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return a boolean scalar, on the device of ``levels``, that says whether all of their values are finite.

    A float32 sum costs a third of `torch.isfinite` on every value. A sum that includes NaN or infinity is never finite.
    Finite values overflow the sum only near 1e33, which no working network outputs.
    """
    sums = torch.stack([level.sum(dtype=torch.float32) for level in levels])
    return torch.isfinite(sums).all()


def cause_of_non_finite_output(model: nn.Module, dtype: torch.dtype | None) -> str:
    """Return in one sentence why the output of ``model`` is not finite.

    ``dtype`` is the autocast type that the model ran in, None for float32.
    """
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
