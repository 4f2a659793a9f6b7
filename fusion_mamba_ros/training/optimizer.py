# SPDX-License-Identifier: Apache-2.0
"""The optimizer and its parameter groups with and without weight decay."""

from __future__ import annotations

import torch
from torch import nn

OPTIMIZERS = ("sgd", "adamw")


def build_optimizer(
    model: nn.Module, kind: str, learning_rate: float, momentum: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Return SGD with Nesterov momentum, or AdamW with ``momentum`` as its first beta.

    The optimizer has up to three parameter groups. Weight decay applies to the weights of convolutions and projections
    only. It does not apply to biases, norms and the scan's A_log, D and dt_bias; it would pull the time scale of the
    state space to a fixed value. Biases have their own group because their warm-up differs.
    """
    decayed, plain, biases = [], [], []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        leaf = name.rpartition(".")[2]
        if leaf == "bias":
            biases.append(parameter)
        elif parameter.ndim <= 1 or leaf in ("A_log", "D", "dt_bias"):
            plain.append(parameter)
        else:
            decayed.append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay, "bias": False},
        {"params": plain, "weight_decay": 0.0, "bias": False},
        {"params": biases, "weight_decay": 0.0, "bias": True},
    ]
    groups = [group for group in groups if group["params"]]
    if kind == "adamw":
        return torch.optim.AdamW(groups, lr=learning_rate, betas=(momentum, 0.999))
    return torch.optim.SGD(groups, lr=learning_rate, momentum=momentum, nesterov=True)
