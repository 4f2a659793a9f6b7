# SPDX-License-Identifier: Apache-2.0
"""CFT and ICAFusion: the published equations in float64, and what the detector asks of any operator."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from state_space_formulas import Array, to_array
from torch.nn import functional

from fusion_mamba_ros.network import Cft, FusionMambaDetector, IcaFusion, ModelConfig

KINDS = {"cft": Cft(layers=2, grid=2), "icafusion": IcaFusion(iterations=2, grid=2)}


def randomised(module: torch.nn.Module) -> Any:
    """Give every parameter a value that matters, the positions and the last norm included."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return module.double().eval()


def norm(x: Array, layer: torch.nn.LayerNorm) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    y: Array = centred / np.sqrt(x.var(-1, keepdims=True) + layer.eps) * to_array(layer.weight) + to_array(layer.bias)
    return y


def linear(x: Array, layer: torch.nn.Linear) -> Array:
    return x @ to_array(layer.weight).T + to_array(layer.bias)


def perceptron(x: Array, layers: Any) -> Array:
    hidden = linear(norm(x, layers[0]), layers[1])
    hidden = hidden * 0.5 * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
    return linear(hidden, layers[3])


def attention(query: Array, key: Array, value: Array, heads: int) -> Array:
    """Softmax attention of (T, C), one head after the other."""
    size = query.shape[1] // heads
    read = []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        weights = np.exp(query[:, part] @ key[:, part].T / math.sqrt(size))
        read.append(weights / weights.sum(1, keepdims=True) @ value[:, part])
    return np.concatenate(read, axis=1)


def cells(x: Array, pool: str) -> Array:
    """The 2 x 2 cells of a (C, 4, 4) map as tokens (4, C)."""
    parts = [x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2] for i in (0, 1) for j in (0, 1)]
    return np.stack([getattr(part, pool)(axis=(1, 2)) for part in parts])


def upsampled(tokens: Array) -> torch.Tensor:
    grid = torch.from_numpy(tokens.T.reshape(1, -1, 2, 2).copy())
    return functional.interpolate(grid, size=(4, 4), mode="bilinear", align_corners=False)


def test_cft_is_self_attention_over_the_tokens_of_both_streams() -> None:
    block = randomised(KINDS["cft"].build(16, 2, 8)).enhance
    maps = [torch.randn(1, 16, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(i)) for i in (0, 1)]
    tokens = np.concatenate([cells(to_array(x[0]), "mean") for x in maps]) + to_array(block.position[0])
    for layer in block.layers:
        query, key, value = np.split(linear(norm(tokens, layer.norm), layer.query_key_value), 3, axis=1)
        tokens = tokens + linear(attention(query, key, value, 8), layer.out)
        tokens = tokens + perceptron(tokens, layer.perceptron)
    tokens = norm(tokens, block.norm)
    with torch.no_grad():
        found = block(*maps)
    for x, enhanced, part in zip(maps, found, np.split(tokens, 2), strict=True):
        torch.testing.assert_close(enhanced, x + upsampled(part))


def test_icafusion_iterates_the_same_cross_attention_and_mixes_the_enhanced_streams() -> None:
    module = randomised(KINDS["icafusion"].build(16, 2, 8))
    maps = [torch.randn(1, 16, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(i)) for i in (0, 1)]
    tokens = []
    for x, stream in zip(maps, module.streams, strict=True):
        mean, most = to_array(stream.pool_weights)
        tokens.append(
            mean * cells(to_array(x[0]), "mean") + most * cells(to_array(x[0]), "max") + to_array(stream.position[0])
        )
    for _ in range(2):
        normed = [norm(t, stream.norm) for t, stream in zip(tokens, module.streams, strict=True)]
        after = []
        for m, stream in enumerate(module.streams):
            query = linear(normed[1 - m], module.streams[1 - m].query)
            key, value = np.split(linear(normed[m], stream.key_value), 2, axis=1)
            a, b, c, d = to_array(stream.coefficients)
            mixed = a * tokens[m] + b * linear(attention(query, key, value, 8), stream.out)
            after.append(c * mixed + d * perceptron(mixed, stream.perceptron))
        tokens = after
    with torch.no_grad():
        same, fused = module(*maps)
        enhanced = [x + upsampled(part) for x, part in zip(maps, tokens, strict=True)]
        torch.testing.assert_close(fused, module.mix(torch.cat(enhanced, dim=1)))
    assert all(x is y for x, y in zip(same, maps, strict=True))


def test_exchange_of_the_streams_and_of_their_positions_exchanges_the_result_of_cft() -> None:
    block = randomised(KINDS["cft"].build(8, 2, 8)).enhance
    rgb, thermal = torch.randn(2, 2, 8, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        first = block(rgb, thermal)
        block.position.copy_(block.position.roll(4, dims=1))
        second = block(thermal, rgb)
    torch.testing.assert_close(second, first[::-1])


def test_exchange_of_the_streams_and_of_their_layers_keeps_the_result_of_icafusion() -> None:
    module = randomised(KINDS["icafusion"].build(8, 2, 8))
    rgb, thermal = torch.randn(2, 2, 8, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        first = module(rgb, thermal)[1]
        module.streams = module.streams[::-1]
        module.mix.conv.weight.copy_(module.mix.conv.weight.roll(8, dims=1))
        torch.testing.assert_close(module(thermal, rgb)[1], first)


def test_iterations_share_their_parameters_and_layers_do_not() -> None:
    def size(settings: Cft | IcaFusion) -> int:
        return sum(p.numel() for p in settings.build(16, 2, 8).parameters())

    assert size(IcaFusion(iterations=1)) == size(IcaFusion(iterations=5))
    # One layer: query, key, value and output 4 C^2, perceptron 8 C^2, and biases and norms.
    assert size(Cft(layers=3)) - size(Cft(layers=2)) == 12 * 16**2 + 13 * 16


@pytest.mark.parametrize("modalities", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_shapes_hold_for_odd_sizes_batches_and_a_third_stream_and_all_parameters_learn(
    kind: str, modalities: int
) -> None:
    module = KINDS[kind].build(8, modalities, 16)
    maps = [torch.rand(3, 8, 5, 9, requires_grad=True) for _ in range(modalities)]
    after, fused = module(*maps)
    assert [tuple(x.shape) for x in (*after, fused)] == [(3, 8, 5, 9)] * (modalities + 1)
    (fused * torch.rand(3, 8, 5, 9)).sum().backward()
    assert not [name for name, p in module.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert all(x.grad is not None and x.grad.abs().sum() > 0 for x in maps)


@pytest.mark.parametrize("kind", KINDS)
def test_each_stream_of_the_fused_map_depends_on_the_other(kind: str) -> None:
    module = randomised(KINDS[kind].build(8, 2, 16))
    rgb, thermal = torch.randn(2, 1, 8, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    only_rgb = torch.zeros_like(rgb)
    with torch.no_grad():
        cross = module(rgb, thermal)[1] - module(rgb, only_rgb)[1] - module(only_rgb, thermal)[1]
        alone = module(only_rgb, only_rgb)[1]
    # The difference is zero for any fusion that treats the streams separately, such as addition.
    assert (cross + alone).abs().max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_detector_works_with_a_missing_modality_and_reads_its_own_configuration(kind: str) -> None:
    config = ModelConfig(fusion=kind, operator=KINDS[kind], classes=2)
    assert ModelConfig.from_dict(config.to_dict()) == config
    torch.manual_seed(0)
    model = FusionMambaDetector(config).eval()
    rgb = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        missing = model({"rgb": rgb})
        zeros = model({"rgb": rgb, "thermal": torch.zeros(2, 1, 64, 96)})
    for first, second in zip(missing, zeros, strict=True):
        assert first.isfinite().all()
        torch.testing.assert_close(first, second)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"cft": {"layers": 0}}, "layers is 0: give a whole number of at least 1"),
        ({"cft": {"grid": 10**6}}, "grid is 1000000: give a whole number of at most 64"),
        ({"icafusion": {"iterations": 1.5}}, "iterations is 1.5"),
        ({"icafusion": {"layers": 2}}, "the section icafusion has no field 'layers': use iterations, heads, grid"),
    ],
    ids=str,
)
def test_bad_setting_is_refused_with_one_sentence(section: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        ModelConfig.from_dict(section)
    assert words in str(caught.value)
