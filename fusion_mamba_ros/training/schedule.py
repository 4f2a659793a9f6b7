# SPDX-License-Identifier: Apache-2.0
"""Learning rate and momentum as pure functions of the step, so that a resumed run needs no schedule state."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Schedule:
    """Warm-up, then a cosine or linear decay to ``final_fraction`` of the learning rate.

    ``kind``: `cosine` or `linear`. ``steps``: number of batches in the whole run.
    In the first ``warmup_steps`` batches the learning rate of the weights starts at 0, that of the biases at
    ``warmup_bias_rate``, and the momentum at ``warmup_momentum``. Each moves linearly to its scheduled value.
    """

    kind: str
    steps: int
    warmup_steps: int
    learning_rate: float
    final_fraction: float
    momentum: float
    warmup_momentum: float
    warmup_bias_rate: float

    def rate(self, step: int, *, bias: bool = False) -> float:
        """Return the learning rate at batch ``step``."""
        progress = min(step / max(self.steps, 1), 1.0)
        shape = (1 + math.cos(math.pi * progress)) / 2 if self.kind == "cosine" else 1 - progress
        rate = self.learning_rate * (self.final_fraction + (1 - self.final_fraction) * shape)
        if step >= self.warmup_steps:
            return rate
        start = self.warmup_bias_rate if bias else 0.0
        return start + (rate - start) * step / self.warmup_steps

    def momentum_at(self, step: int) -> float:
        """Return the momentum at batch ``step``."""
        if step >= self.warmup_steps:
            return self.momentum
        return self.warmup_momentum + (self.momentum - self.warmup_momentum) * step / self.warmup_steps

    def apply(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Set learning rate and momentum of every parameter group; groups of biases have ``"bias": True``."""
        for group in optimizer.param_groups:
            group["lr"] = self.rate(step, bias=group.get("bias", False))
            if "momentum" in group:
                group["momentum"] = self.momentum_at(step)
            else:
                group["betas"] = (self.momentum_at(step), group["betas"][1])
