# SPDX-License-Identifier: Apache-2.0
"""A published checkpoint is half as large, predicts the same, and carries what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from fusion_mamba_ros.cli import app
from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata, load_checkpoint, read_metadata, save_checkpoint


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = FusionMambaDetector(ModelConfig(classes=2, fusion="add")).eval()
    path = tmp_path / "trained.safetensors"
    save_checkpoint(path, model, CheckpointMetadata(("person", "car"), (64, 64), training={"recipe": {"epochs": 3}}))
    return path


def publish(trained: Path, metrics: Path, out: Path, *more: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["publish", str(trained), "--metrics", str(metrics), "--out", str(out), *more])
    return result.exit_code, result.output


def test_published_checkpoint_is_half_as_large_and_predicts_nearly_the_same(trained: Path, tmp_path: Path) -> None:
    metrics, out = tmp_path / "metrics.json", tmp_path / "published.safetensors"
    metrics.write_text(json.dumps({"data": "/a/night, /b/day", "modes": {"fused": {"mAP50": 0.5}}}))
    assert publish(trained, metrics, out, "--note", "made for a test")[0] == 0
    assert out.stat().st_size < 0.6 * trained.stat().st_size
    _, metadata = read_metadata(out)
    assert metadata.metrics["modes"]["fused"]["mAP50"] == 0.5
    assert metadata.metrics["data"] == "night, day"
    assert metadata.training == {"recipe": {"epochs": 3}, "note": "made for a test"}
    generator = torch.Generator().manual_seed(1)
    images = {
        "rgb": torch.rand(1, 3, 64, 64, generator=generator),
        "thermal": torch.rand(1, 1, 64, 64, generator=generator),
    }
    with torch.no_grad():
        full, half = (load_checkpoint(path)[0](images) for path in (trained, out))
    for one, other in zip(full, half, strict=True):
        # Filters keep 11 bits: relative rounding of 2^-11 in each of some dozens of layers.
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=0.02 * float(one.abs().max()))


@pytest.mark.parametrize("content", ["{}", "not json"])
def test_metrics_of_another_kind_are_refused_in_one_sentence(trained: Path, tmp_path: Path, content: str) -> None:
    metrics, out = tmp_path / "metrics.json", tmp_path / "published.safetensors"
    metrics.write_text(content)
    code, output = publish(trained, metrics, out)
    assert code == 2 and str(metrics) in output and "eval wrote" in output
    assert not out.exists()
