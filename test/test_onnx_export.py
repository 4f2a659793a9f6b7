# SPDX-License-Identifier: Apache-2.0
"""The export to ONNX, with every backbone and fusion operator, and the command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from operator_library import compiled_library
from typer.testing import CliRunner, Result

from fusion_mamba_ros.cli import app
from fusion_mamba_ros.deployment.onnxruntime_engine import load_engine
from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from fusion_mamba_ros.perception.engine import EngineOptions

pytest.importorskip("onnx")

CLASSES = ("person", "car", "bus")
MODELS: dict[str, dict[str, Any]] = {
    "fusion_mamba": {
        "fusion": "fusion_mamba",
        "fusion_mamba": {"dssf_count": 1, "share_ssm": False, "max_channels": 16},
    },
    "lite0 and cross-attention": {"backbone": "efficientnet_lite0", "fusion": "cross_attention"},
    "yolov5, concat, three": {
        "backbone": "yolov5",
        "fusion": "concat",
        "modalities": {"rgb": 3, "thermal": 1, "depth": 1},
    },
    "power decay": {"fusion_mamba": {"dssf_count": 1, "max_channels": 16, "decay": "power"}},
    "one modality": {"modalities": {"thermal": 1}},
}


@pytest.fixture(scope="module", autouse=True)
def library() -> Path:
    return compiled_library()


def write_checkpoint(path: Path, config: dict[str, Any]) -> Path:
    """Write a checkpoint with random weights whose normalisations are not the identity."""
    torch.manual_seed(5)
    detector = FusionMambaDetector(ModelConfig.from_dict({"levels": [5], "classes": len(CLASSES), **config}))
    for module in detector.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    save_checkpoint(path, detector, CheckpointMetadata(CLASSES, (96, 64)))
    return path


def export(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


@pytest.mark.parametrize("name", MODELS)
def test_every_kind_of_network_is_exported_and_equals_pytorch(tmp_path: Path, name: str) -> None:
    checkpoint, out = write_checkpoint(tmp_path / "a.safetensors", MODELS[name]), tmp_path / "a.onnx"
    done = export(checkpoint, "--out", out, "--size", "64x96")
    assert done.exit_code == 0, done.output
    engine, metadata = load_engine(out, EngineOptions(threads=1))
    detector, stored = load_checkpoint(checkpoint)
    assert metadata.input_size == (64, 96) and metadata.class_names == stored.class_names
    assert list(engine.modalities.items()) == list(detector.config.modalities.items())
    random = np.random.default_rng(6)
    for batch in (1, 3):
        images = {m: random.integers(0, 256, (batch, c, 96, 64), np.uint8) for m, c in engine.modalities.items()}
        with torch.inference_mode():
            levels = detector({m: torch.from_numpy(image).float() / 255.0 for m, image in images.items()})
            expected = detector.decode(levels).numpy()
        found = engine.run(images).rows
        assert np.abs(found - expected)[..., :4].max() <= 1e-2
        assert np.abs(found - expected)[..., 4:].max() <= 1e-4


def test_a_fixed_number_of_images_in_each_run_is_kept_or_refused_with_one_sentence(tmp_path: Path) -> None:
    checkpoint, out = write_checkpoint(tmp_path / "a.safetensors", MODELS["one modality"]), tmp_path / "a.onnx"
    assert export(checkpoint, "--out", out, "--batch", "2").exit_code == 0
    engine, metadata = load_engine(out, EngineOptions(threads=1))
    width, height = metadata.input_size
    for batch in (1, 2, 3):
        images = {m: np.zeros((batch, c, height, width), np.uint8) for m, c in engine.modalities.items()}
        if batch == 2:
            assert len(engine.run(images).rows) == 2
            continue
        with pytest.raises(ValueError, match=rf"takes 2 image\(s\) .* not {batch}: .* '--batch dynamic'"):
            engine.run(images)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "tensorflow"), "--format is 'tensorflow': choose onnx"),
        (("--size", "640"), "--size is '640': write width x height, for example 640x512"),
        (("--size", "100x64"), "input size is 100x64: expected multiples of 32"),
        (("--batch", "0"), "--batch is '0': write dynamic, or a number from 1 to 1000"),
        (("--precision", "fp8"), "--precision is 'fp8': choose fp32"),
        (("--scan", "loop"), "--scan is 'loop': choose operator, standard"),
    ],
)
def test_bad_options_are_one_sentence_and_write_nothing(
    tmp_path: Path, arguments: tuple[str, str], message: str
) -> None:
    checkpoint = write_checkpoint(tmp_path / "a.safetensors", MODELS["one modality"])
    done = export(checkpoint, "--out", tmp_path / "a.onnx", *arguments)
    assert done.exit_code == 2
    assert message in done.output
    assert not (tmp_path / "a.onnx").exists()


def test_an_unknown_operator_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = write_checkpoint(tmp_path / "a.safetensors", MODELS["one modality"])
    monkeypatch.setattr("torch.nn.functional.silu", lambda x, inplace=False: torch.special.bessel_j0(x))
    done = export(checkpoint, "--out", tmp_path / "a.onnx")
    assert done.exit_code == 2
    assert "PyTorch's operator aten::special_bessel_j0, which the ONNX export cannot translate" in done.output
