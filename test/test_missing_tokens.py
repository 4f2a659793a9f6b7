# SPDX-License-Identifier: Apache-2.0
"""Learned features in place of those of a missing image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fusion_mamba_ros.network import OPERATORS, FusionMambaDetector, MissingTokens, ModelConfig
from fusion_mamba_ros.network.absent_streams import AbsentStreams
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from fusion_mamba_ros.perception.torch_engine import TorchEngine
from fusion_mamba_ros.training.recipe import Recipe
from fusion_mamba_ros.training.start_weights import load_start_weights

METADATA = CheckpointMetadata(("person", "car"), (96, 64))
SETTINGS: dict[str, dict[str, Any]] = {
    "fusion_mamba": {"dssf_count": 1},
    "cft": {"layers": 1},
    "icafusion": {"grid": 4},
}


def model_of(
    fusion: str = "add", *, missing: str = "learned", tokens: float = 0.3, **fields: Any
) -> FusionMambaDetector:
    torch.manual_seed(0)
    section = {fusion: SETTINGS[fusion]} if fusion in SETTINGS else {}
    model = FusionMambaDetector(
        ModelConfig.from_dict({"fusion": fusion, "classes": 2, "missing": missing, **section, **fields})
    )
    if model.missing_tokens is not None:
        with torch.no_grad():
            for parameter in model.missing_tokens.parameters():
                parameter.copy_(tokens * torch.randn_like(parameter))
    return model.eval()


def images(*missing: set[str], seed: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    batch = {name: torch.rand(len(missing), count, 64, 96, generator=generator) for name, count in CHANNELS.items()}
    for row, names in enumerate(missing):
        for name in names:
            batch[name][row] = 0
    return batch


CHANNELS = {"rgb": 3, "thermal": 1}


def by_hand(model: FusionMambaDetector, batch: dict[str, Tensor], missing: str) -> list[Tensor]:
    """Return the maps of ``batch`` where ``missing`` has no backbone at all, only its vectors."""
    assert model.missing_tokens is not None
    maps, fused = dict(batch), []
    for index, fusion in enumerate(model.fusions):
        features = {}
        for name, x in maps.items():
            if name == missing:
                other = maps["thermal" if name == "rgb" else "rgb"]
                height, width = (side // (2 ** (index + 3)) for side in (64, 96))
                vector = model.missing_tokens.tokens[name][index]  # type: ignore[index]
                features[name] = vector.detach()[None, :, None, None].repeat(len(other), 1, height, width)
            else:
                features[name] = model.backbones[name].sections[index](x)
        out, level = fusion(*features.values())
        maps = dict(zip(features, out, strict=True))
        fused.append(level)
    return list(model.head(model.neck(fused)))


@pytest.mark.parametrize("fusion", sorted(OPERATORS))
@pytest.mark.parametrize("missing", ["rgb", "thermal"])
@torch.no_grad()
def test_the_vectors_replace_the_features_of_a_missing_image_at_each_level(fusion: str, missing: str) -> None:
    model = model_of(fusion)
    batch = images({missing}, {missing})
    expected = by_hand(model, batch, missing)
    for found, level in zip(model(batch), expected, strict=True):
        torch.testing.assert_close(found, level, rtol=1e-4, atol=1e-4)
    left = {name: x for name, x in batch.items() if name != missing}
    for found, level in zip(model(left), expected, strict=True):
        torch.testing.assert_close(found, level, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_each_image_of_a_batch_is_judged_alone_and_images_that_are_there_are_untouched() -> None:
    model, zeros = model_of(), model_of(missing="zeros")
    zeros.load_state_dict({name: x for name, x in model.state_dict().items() if "missing_tokens" not in name})
    kinds: list[set[str]] = [set(), {"rgb"}, {"thermal"}]
    batch = images(*kinds)
    together, without = model(batch), zeros(batch)
    for row in range(3):
        alone = model({name: x[row : row + 1] for name, x in batch.items()})
        for one, many, zero in zip(alone, together, without, strict=True):
            torch.testing.assert_close(one[0], many[row], rtol=1e-4, atol=1e-4)
            assert torch.allclose(many[row], zero[row], atol=1e-4) == (row == 0)


def test_the_vectors_learn_from_missing_images_and_the_backbone_does_not() -> None:
    model = model_of().train()
    batch = images({"rgb"}, {"rgb"})
    sum(level.sum() for level in model(batch)).backward()
    assert model.missing_tokens is not None
    vectors = dict(model.missing_tokens.named_parameters())
    assert all(
        x.grad is not None and (x.grad.abs().sum() > 0) == name.startswith("tokens.rgb") for name, x in vectors.items()
    )
    rgb = [x.grad for x in model.backbones["rgb"].parameters()]
    assert all(grad is None or not grad.any() for grad in rgb)


@pytest.mark.parametrize("fusion", ["add", "fusion_mamba"])
def test_the_engine_skips_the_whole_backbone_of_a_missing_stream(fusion: str) -> None:
    engine = TorchEngine(model_of(fusion), device="cpu")
    batch = {
        name: np.ascontiguousarray((255 * x).round().numpy().astype(np.uint8)) for name, x in images({"rgb"}).items()
    }
    other = {name: x.copy() for name, x in batch.items()}
    other["thermal"] = 255 - other["thermal"]
    engine.run(batch)
    calls: list[int] = []
    for section in engine.model.backbones["rgb"].sections:
        section.register_forward_hook(lambda *_: calls.append(1))
    found = engine.run(other).rows
    assert calls == []
    with torch.inference_mode():
        tensors = {name: torch.from_numpy(x).float() / 255 for name, x in other.items()}
        expected = engine.model.decode(engine.model(tensors)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


@torch.inference_mode()
def test_a_constant_image_of_another_value_is_missing_for_engine_and_model_alike() -> None:
    model = model_of()
    network = AbsentStreams(model)
    batch = images({"thermal"}, set())
    batch["rgb"][1] = 0.5
    for found, expected in zip(network(batch, {"thermal": [True, False]}), model(batch), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_checkpoint_keeps_the_vectors(tmp_path: Path) -> None:
    model = model_of()
    save_checkpoint(tmp_path / "a.safetensors", model, METADATA, half=True)
    loaded, _ = load_checkpoint(tmp_path / "a.safetensors")
    assert loaded.config.missing == "learned"
    for name, value in model.state_dict().items():
        if "missing_tokens" in name:
            assert torch.equal(loaded.state_dict()[name], value)


def test_old_checkpoints_and_configurations_stay_as_they_were(tmp_path: Path) -> None:
    config = ModelConfig(fusion="add", classes=2)
    assert "missing" not in config.to_dict()
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert ModelConfig.from_dict({"missing": "learned"}).to_dict()["missing"] == "learned"
    model = FusionMambaDetector(config)
    assert not [name for name in model.state_dict() if "missing" in name]
    save_checkpoint(tmp_path / "old.safetensors", model, METADATA)
    # They are a start for a model with vectors: those start as zeros.
    recipe = Recipe.from_dict({"model": {"fusion": "add", "classes": 2, "missing": "learned"}, "input_size": [96, 64]})
    started = FusionMambaDetector(recipe.model)
    sentence, _ = load_start_weights(started, tmp_path / "old.safetensors", recipe)
    count = len(model.state_dict())
    assert f"{count} of {count + 6} tensors fit" in sentence
    assert not any(x.any() for name, x in started.state_dict().items() if "missing_tokens" in name)


def test_a_model_of_one_stream_has_no_vectors_and_a_wrong_word_is_refused() -> None:
    assert FusionMambaDetector(ModelConfig(modalities={"thermal": 1}, missing="learned")).missing_tokens is None
    with pytest.raises(ValueError, match=r"missing.*'mean'.*zeros, learned"):
        ModelConfig(missing="mean")


class _Probe(torch.nn.Module):
    """The vectors of two images of three channels each, as features of the images themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = MissingTokens({"rgb": 3, "other": 3}, (3,))
        for vectors in self.tokens.tokens.values():
            torch.nn.init.normal_(vectors[0])  # type: ignore[index]

    def forward(self, rgb: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        maps = [rgb.float() / 255.0, other.float() / 255.0]
        one, two = self.tokens.replace(0, maps, self.tokens.find(maps))
        return one, two


def test_an_exported_model_finds_missing_images_itself() -> None:
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    import fusion_mamba_ros.deployment.onnx_operators  # noqa: F401  # registers the rules
    from fusion_mamba_ros.deployment.onnx_graph import OnnxGraph
    from fusion_mamba_ros.deployment.onnx_translation import Translation, traced_input

    torch.manual_seed(0)
    probe, graph = _Probe().eval().requires_grad_(False), OnnxGraph()
    program = torch.export.export(probe, (traced_input(3, 32, 32), traced_input(3, 32, 32)), strict=False)
    translation = Translation(graph, {"bytes": {"rgb", "other"}})
    outputs = translation.run(program, {"rgb": "rgb", "other": "other"})
    shape = ["batch", 3, 32, 32]
    info = onnx.helper.make_tensor_value_info
    model = graph.model(
        [info(name, onnx.TensorProto.UINT8, shape) for name in ("rgb", "other")],
        [info(name, onnx.TensorProto.FLOAT, shape) for name in outputs],
        {},
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(0)
    batch = {name: generator.integers(0, 256, (3, 3, 32, 32), np.uint8) for name in ("rgb", "other")}
    batch["rgb"][1], batch["other"][2] = 0, 77
    expected = probe(*(torch.from_numpy(x) for x in batch.values()))
    for found, wanted in zip(session.run(None, batch), expected, strict=True):
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-5, atol=1e-6)
    assert np.ptp(expected[0][1].numpy(), axis=(1, 2)).max() == 0  # the vector at every position
