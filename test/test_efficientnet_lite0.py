# SPDX-License-Identifier: Apache-2.0
"""The EfficientNet-Lite0 backbone against the published description."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from fusion_mamba_ros.network.backbones.efficientnet_lite0 import (
    EfficientNetLite0Backbone,
    LiteConv,
    MobileBlock,
    PixelNormalisation,
)
from fusion_mamba_ros.perception.compute import fold_batch_norms


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give the batch normalisations statistics and factors that matter."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            count = module.num_features
            module.running_mean = torch.randn(count, generator=generator) * 0.1
            module.running_var = torch.rand(count, generator=generator) + 0.5
            module.weight.data = torch.rand(count, generator=generator) + 0.5
            module.bias.data = torch.randn(count, generator=generator) * 0.1
    return model.eval()


def test_has_the_parameters_of_the_published_model() -> None:
    # 4,652,008 published, without the 1x1 convolution to 1280 channels, its normalisation and the classifier.
    head = 320 * 1280 + 2 * 1280 + 1280 * 1000 + 1000
    assert sum(p.numel() for p in EfficientNetLite0Backbone(3).parameters()) == 4_652_008 - head


def test_features_are_at_strides_8_16_and_32() -> None:
    with torch.no_grad():
        features = EfficientNetLite0Backbone(1).eval()(torch.rand(2, 1, 96, 64))
    assert [tuple(x.shape) for x in features] == [(2, 40, 12, 8), (2, 112, 6, 4), (2, 320, 3, 2)]


def test_image_in_0_to_1_is_brought_to_the_published_range() -> None:
    pixels = np.array([0, 127, 255], np.uint8)
    image = torch.from_numpy(pixels).float().div(255).view(1, 1, 1, 3)
    expected = (pixels.astype(np.float64) - 127) / 128
    np.testing.assert_allclose(PixelNormalisation()(image).flatten().numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(("kernel", "size"), [(3, 8), (5, 8), (3, 12), (5, 12)])
def test_stride_2_pads_as_tensorflow_does(kernel: int, size: int) -> None:
    conv: Any = randomised(LiteConv(3, 4, kernel, 2, linear=True))
    x = torch.rand(1, 3, size, size)
    # TensorFlow's SAME: ceil(size / 2) outputs; the padding for them is shared out, an odd row goes to the far side.
    missing = max((-(-size // 2) - 1) * 2 + kernel - size, 0)
    padded = functional.pad(x, (missing // 2, missing - missing // 2) * 2)
    with torch.no_grad():
        expected = conv.norm(functional.conv2d(padded, conv.conv.weight, stride=2))
        torch.testing.assert_close(conv(x), expected)


def test_shortcut_only_where_shape_and_channels_stay() -> None:
    assert MobileBlock(16, 16, 3, 1, 6).shortcut
    assert not MobileBlock(16, 24, 3, 1, 6).shortcut
    assert not MobileBlock(16, 16, 3, 2, 6).shortcut


def test_folded_backbone_has_no_normalisation_left_and_gives_the_same() -> None:
    torch.manual_seed(0)
    model = randomised(EfficientNetLite0Backbone(3))
    folded = copy.deepcopy(model)
    fold_batch_norms(folded)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        for a, b in zip(folded(image), model(image), strict=True):
            assert (a - b).abs().max() <= 1e-4 * b.abs().max()
    fold_batch_norms(folded)  # a second time changes nothing
