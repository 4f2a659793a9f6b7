# SPDX-License-Identifier: Apache-2.0
"""Output that is not finite is refused with its cause."""

from __future__ import annotations

import pytest
import torch
from bright_rectangle import CLASSES, model_of, rgb_image

from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.network.fusion.fusion_mamba import FusionMamba
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata
from fusion_mamba_ros.perception.finite_output import NonFiniteOutputError
from fusion_mamba_ros.perception.predictor import Predictor
from fusion_mamba_ros.perception.torch_engine import are_finite, cause_of_non_finite_output


def small_predictor() -> Predictor:
    torch.manual_seed(0)
    model = FusionMambaDetector(ModelConfig(classes=2, operator=FusionMamba(dssf_count=1), levels=(5,)))
    return Predictor.from_model(model, CheckpointMetadata(CLASSES, (96, 64)), device="cpu")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("branch", ["box_branches", "class_branches"])
def test_output_that_is_not_finite_is_refused_with_the_damaged_weight(value: float, branch: str) -> None:
    predictor = small_predictor()
    weight = getattr(model_of(predictor).head, branch)[1][-1].bias
    with torch.no_grad():
        weight[0] = value
    with pytest.raises(NonFiniteOutputError, match=rf"'head\.{branch}\.1\.2\.bias': use another checkpoint"):
        predictor.predict({"rgb": rgb_image(96, 64)})
    with pytest.raises(NonFiniteOutputError):
        predictor.warm_up()


def test_activations_that_overflow_are_refused_though_the_weights_are_finite() -> None:
    predictor = small_predictor()
    with torch.no_grad():
        for parameter in model_of(predictor).head.class_branches.parameters():
            parameter.fill_(1e30)
    with pytest.raises(NonFiniteOutputError, match="activations overflow in fp32"):
        predictor.predict({"rgb": rgb_image(96, 64)})
    model = model_of(predictor)
    assert "in precision fp16: try precision bf16 or fp32" in cause_of_non_finite_output(model, torch.float16)
    assert "in precision bf16: try precision fp32" in cause_of_non_finite_output(model, torch.bfloat16)


def test_a_single_value_that_is_not_finite_is_found_and_large_finite_ones_are_not() -> None:
    generator = torch.Generator().manual_seed(7)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        levels = [torch.randn((1, 66, size, size), generator=generator).to(dtype) for size in (12, 6, 3)]
        levels[0].mul_(1e4)
        assert are_finite(levels)
        for value in (float("nan"), float("inf"), float("-inf")):
            for level in levels:
                damaged = [other.clone() for other in levels]
                target = next(copy for copy, other in zip(damaged, levels, strict=True) if other is level)
                target.view(-1)[int(torch.randint(target.numel(), (1,), generator=generator))] = value
                assert not are_finite(damaged)
        both = [levels[0].clone(), *levels[1:]]
        both[0].view(-1)[0], both[0].view(-1)[1] = float("inf"), float("-inf")
        assert not are_finite(both)
