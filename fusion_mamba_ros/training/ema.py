# SPDX-License-Identifier: Apache-2.0
"""The moving average of the weights; validation and checkpoints use the averaged weights."""

from __future__ import annotations

import copy
import math
from typing import Generic, TypeVar

import torch
from torch import nn

ModelT = TypeVar("ModelT", bound=nn.Module)


class MovingAverage(Generic[ModelT]):
    """Exponential moving average of a model's parameters and buffers.

    The decay grows as ``decay`` * (1 - exp(-updates / ramp)), so that the average quickly forgets the start weights.
    The attribute ``model`` is the averaged model, in evaluation mode and without gradients.
    """

    def __init__(self, model: ModelT, decay: float, ramp: float):
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay, self.ramp, self.updates = decay, ramp, 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Update the average with the current values of ``model``; integer buffers are copied."""
        self.updates += 1
        weight = 1 - self.decay * (1 - math.exp(-self.updates / self.ramp))
        current = model.state_dict()
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                value.lerp_(current[name].to(value.dtype), weight)
            else:
                value.copy_(current[name])
