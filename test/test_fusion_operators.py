# SPDX-License-Identifier: Apache-2.0
"""A fusion operator of somebody else: one class, one entry in the registry."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from fusion_mamba_ros.network import OPERATORS, FusionMambaDetector, FusionOperator, ModelConfig


class Mean(nn.Module):
    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, *maps: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        return maps, self.weight * torch.stack(maps).mean(dim=0)


@dataclass(frozen=True)
class WeightedMean(FusionOperator):
    weight: float = 1.0

    def build(self, channels: int, modalities: int, stride: int) -> Mean:
        return Mean(self.weight)


def test_operator_of_a_user_needs_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPERATORS, "weighted_mean", WeightedMean)
    config = ModelConfig.from_dict({"fusion": "weighted_mean", "weighted_mean": {"weight": 2.0}})
    assert ModelConfig.from_dict(config.to_dict()) == config
    torch.manual_seed(0)
    mean = FusionMambaDetector(config).eval()
    added = FusionMambaDetector(ModelConfig(fusion="add")).eval()
    added.load_state_dict(mean.state_dict())
    images = {"rgb": torch.rand(1, 3, 32, 32), "thermal": torch.rand(1, 1, 32, 32)}
    with torch.no_grad():
        # Twice the mean of two streams is their sum.
        for first, second in zip(mean(images), added(images), strict=True):
            torch.testing.assert_close(first, second)
    with pytest.raises(
        ValueError, match="choose fusion_mamba, add, concat, cross_attention, cft, icafusion, weighted_mean"
    ):
        ModelConfig(fusion="median")


@pytest.mark.parametrize("channels", [40, 112, 320, 64, 8, 6])
@pytest.mark.parametrize("fusion", ["cross_attention", "cft", "icafusion"])
def test_attention_takes_any_number_of_channels(fusion: str, channels: int) -> None:
    module = OPERATORS[fusion]().build(channels, 2, 16).eval()
    maps, fused = module(torch.rand(1, channels, 4, 4), torch.rand(1, channels, 4, 4))
    assert [tuple(x.shape) for x in (*maps, fused)] == [(1, channels, 4, 4)] * 3
