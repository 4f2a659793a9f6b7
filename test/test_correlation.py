# SPDX-License-Identifier: Apache-2.0
"""Correlation of features against numpy, and the stages of a block against the block itself."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import training_scenes as scenes
from typer.testing import CliRunner

from fusion_mamba_ros.analysis.correlation import measure_correlation
from fusion_mamba_ros.analysis.feature_correlation import FeatureSums, channel_correlation, jackknife, linear_cka
from fusion_mamba_ros.cli import app
from fusion_mamba_ros.datasets import PreparedDataset, open_dataset
from fusion_mamba_ros.network import FusionMamba, FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata, save_checkpoint


def features(seed: int, count: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    x = rng.normal(2, 1, (count, 5)) @ rng.normal(0, 1, (5, 5))
    y = x @ rng.normal(0, 1, (5, 5)) + rng.normal(0, 3, (count, 5))
    return torch.from_numpy(x), torch.from_numpy(y)


def cka_of_gram_matrices(x: np.ndarray, y: np.ndarray) -> float:
    """The definition: HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) with centred Gram matrices of the positions."""
    centre = np.eye(len(x)) - 1 / len(x)
    k, m = (centre @ (z @ z.T) @ centre for z in (x, y))
    return float((k * m).sum() / math.sqrt((k * k).sum() * (m * m).sum()))


@pytest.mark.parametrize("seed", range(3))
def test_sums_of_parts_give_the_cka_of_the_gram_matrices_and_numpys_correlation(seed: int) -> None:
    print(f"seed {seed}")
    x, y = features(seed)
    sums = FeatureSums.of(x[:70], y[:70]) + FeatureSums.of(x[70:], y[70:])
    assert linear_cka(sums) == pytest.approx(cka_of_gram_matrices(x.numpy(), y.numpy()))
    expected = np.mean([np.corrcoef(x[:, c], y[:, c])[0, 1] for c in range(5)])
    assert channel_correlation(sums) == pytest.approx(expected)


def test_cka_of_a_rotated_and_scaled_copy_is_one_and_of_a_constant_is_no_number() -> None:
    x, _ = features(3)
    rotation = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))[0]
    assert linear_cka(FeatureSums.of(x, 3 * x @ rotation + 7)) == pytest.approx(1)
    constant = FeatureSums.of(x, torch.ones_like(x))
    assert math.isnan(linear_cka(constant)) and math.isnan(channel_correlation(constant))
    tiny = FeatureSums.of(1e-9 * x, 1e-9 * x)
    assert linear_cka(tiny) == pytest.approx(1) and channel_correlation(tiny) == pytest.approx(1)


def test_cka_needs_no_channel_that_varies_in_both_features() -> None:
    values = torch.randn(50, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    zeros = torch.zeros_like(values)
    sums = FeatureSums.of(torch.cat([values, zeros], 1), torch.cat([zeros, 2 * values + 3], 1))
    assert linear_cka(sums) == pytest.approx(1) and math.isnan(channel_correlation(sums))


def test_jackknife_of_a_mean_has_the_error_of_a_mean() -> None:
    x, _ = features(4)
    groups = [(FeatureSums.of(part, part),) for part in x.split(10)]

    def mean(sums: FeatureSums) -> float:
        return float(sums.x[0] / sums.count)

    value, error = jackknife(groups, mean)
    means = x[:, 0].view(-1, 10).mean(1)
    assert value == pytest.approx(float(x[:, 0].mean()))
    assert error == pytest.approx(float(means.std() / math.sqrt(len(means))))
    assert math.isnan(jackknife(groups[:1], mean)[1])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenes.write_pairs(tmp_path_factory.mktemp("pairs"), train=2, val=6)


def model_of(modalities: dict[str, int] | None = None, **settings: Any) -> FusionMambaDetector:
    torch.manual_seed(0)
    fields: dict[str, Any] = {"dssf_count": 2, "max_channels": 8, "state_size": 2, **settings}
    operator = FusionMamba(**fields)
    return FusionMambaDetector(
        ModelConfig(classes=1, operator=operator, levels=(4, 5), modalities=modalities or {"rgb": 3, "thermal": 1})
    ).eval()


def test_stages_are_those_of_the_block_and_streams_with_equal_features_correlate_fully(data: Path) -> None:
    model = model_of()
    fusion: Any
    for fusion in list(model.fusions)[1:]:
        # Both streams and both projections see the same features, so the input of the block is one map twice.
        fusion.enhance.register_forward_pre_hook(lambda module, maps: (maps[0], maps[0]))
        fusion.enhance.proj_in[1].load_state_dict(fusion.enhance.proj_in[0].state_dict())
    dataset = PreparedDataset(open_dataset(data, "val"), (64, 64))
    found = measure_correlation(model, dataset, (64, 64))
    stages = ["before SSCS", "after swap", "after VSS", "after DSSF 1", "after DSSF 2"]
    whole = [item for item in found if item.measure == "cka" and item.label == "all"]
    assert [(item.level, item.stage) for item in whole] == [(level, stage) for level in (4, 5) for stage in stages]
    for item in found:
        if item.stage in stages[:2] and item.label == "all":
            assert item.real == pytest.approx(1) and item.shuffled == pytest.approx(1)
        if item.label == "all":
            assert item.untrained < 0.999
    # Six pairs, of 4 x 4 positions at P4; the boxes hold only some of them.
    by_label = {item.label: item.positions for item in found if item.level == 4}
    assert by_label["all"] == 96 and 0 < by_label["person"] < 96


def test_pairs_of_equal_images_correlate_fully_and_shuffled_ones_clearly_less(tmp_path: Path) -> None:
    pairs = scenes.write_pairs(tmp_path, train=2, val=6)
    for path in (pairs / "thermal").iterdir():
        cv2.imwrite(str(pairs / "rgb" / path.name), cv2.cvtColor(cv2.imread(str(path), 0), cv2.COLOR_GRAY2BGR))
    model = model_of(sscs=False, dssf_count=1, modalities={"rgb": 3, "thermal": 3})
    model.backbones["thermal"].load_state_dict(model.backbones["rgb"].state_dict())
    fusion: Any
    for fusion in list(model.fusions)[1:]:
        fusion.enhance.proj_in[1].load_state_dict(fusion.enhance.proj_in[0].state_dict())
    found = measure_correlation(model, PreparedDataset(open_dataset(pairs, "val"), (64, 64)), (64, 64))
    assert {item.stage for item in found} == {"before DSSF", "after DSSF 1"}
    for item in found:
        if (item.level, item.stage, item.label) == (4, "before DSSF", "all"):
            assert item.real == pytest.approx(1, abs=0.01)
            assert item.standard_errors > 3


def test_command_writes_tables_and_heat_maps_and_refuses_another_fusion(data: Path, tmp_path: Path) -> None:
    model, out = model_of(dssf_count=1), tmp_path / "out"
    save_checkpoint(tmp_path / "m.safetensors", model, CheckpointMetadata(("person",), (64, 64)))
    arguments = ["analyze", "correlation", "--data", str(data), "--out", str(out), "--threads", "1"]
    result = CliRunner().invoke(app, [*arguments, "--checkpoint", str(tmp_path / "m.safetensors")])
    assert result.exit_code == 0, result.output
    assert "of 8 stages." in result.output
    stages = json.loads((out / "correlation.json").read_text())["stages"]
    assert len(stages) == 2 * 4 * 2 * 2
    assert "## Linear CKA, inside boxes of person" in (out / "correlation.md").read_text()
    assert {path.name for path in out.glob("*.png")} == {"correlation_cka.png", "correlation_channel.png"}
    added = FusionMambaDetector(ModelConfig(fusion="add", classes=1))
    save_checkpoint(tmp_path / "add.safetensors", added, CheckpointMetadata(("person",), (64, 64)))
    result = CliRunner().invoke(app, [*arguments, "--checkpoint", str(tmp_path / "add.safetensors")])
    assert result.exit_code == 2 and "the model fuses rgb + thermal by add" in result.stderr
