# SPDX-License-Identifier: Apache-2.0
"""Parameter groups of the optimizer."""

import pytest
import torch

from fusion_mamba_ros.network import FusionMambaBlock
from fusion_mamba_ros.training.optimizer import build_optimizer


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_every_parameter_is_in_one_group_and_the_state_space_does_not_decay(kind: str) -> None:
    block = FusionMambaBlock(8, dssf_count=1)
    optimizer = build_optimizer(block, kind, 0.01, 0.9, 5e-4)
    decay = {p: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert len(decay) == sum(len(group["params"]) for group in optimizer.param_groups) == len(list(block.parameters()))
    for name, parameter in block.named_parameters():
        plain = parameter.ndim == 1 or name.rpartition(".")[2] in ("A_log", "D", "dt_bias")
        assert decay[parameter] == (0 if plain else 5e-4), name


def test_frozen_parameter_is_left_out() -> None:
    layer = torch.nn.Linear(2, 2)
    layer.weight.requires_grad_(False)
    assert [len(group["params"]) for group in build_optimizer(layer, "sgd", 0.1, 0.9, 0.0).param_groups] == [1]
