# SPDX-License-Identifier: Apache-2.0
"""Device, precision and folded batch normalisation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.compute import choose_device, choose_precision, fold_batch_norms
from fusion_mamba_ros.perception.predictor import Predictor


def test_folded_batch_norms_leave_the_output_as_it_was() -> None:
    torch.manual_seed(0)
    model = FusionMambaDetector(ModelConfig(classes=2, fusion="add")).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
    images = {"rgb": torch.rand(1, 3, 64, 96), "thermal": torch.rand(1, 1, 64, 96)}
    with torch.no_grad():
        before = model(images)
        fold_batch_norms(model)
        after = model(images)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["gpu", "tpu:0", "mps", "cuda:99"])
def test_device_that_is_not_there_is_one_sentence(name: str) -> None:
    with pytest.raises(ValueError, match=f"device '{name}'"):
        choose_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_without_cuda_says_what_to_use(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="finds no CUDA, use 'cpu' or 'auto'"):
        Predictor.from_checkpoint(tmp_path / "absent.safetensors", device="cuda")
    assert choose_device("auto").type == "cpu"


def test_precision_that_the_device_lacks_is_one_sentence() -> None:
    cpu = torch.device("cpu")
    assert choose_precision("auto", cpu) is None
    assert choose_precision("bf16", cpu) is torch.bfloat16
    with pytest.raises(ValueError, match="'fp16' needs a CUDA device"):
        choose_precision("fp16", cpu)
    with pytest.raises(ValueError, match="precision 'int8' is unknown"):
        choose_precision("int8", cpu)
