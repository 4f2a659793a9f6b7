# SPDX-License-Identifier: Apache-2.0
"""Training that starts from the weights of a checkpoint."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
import training_scenes as scenes
from train_command import run_here

from fusion_mamba_ros.perception.checkpoint import load_checkpoint
from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling
from fusion_mamba_ros.training.training_state import TrainingState
from fusion_mamba_ros.training.validation import Validation

pytestmark = pytest.mark.usefixtures("torch_settings")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenes.write_pairs(tmp_path_factory.mktemp("pairs"), train=4)


def test_a_run_keeps_the_name_of_the_weights_it_started_from(data: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    short = ["--set", "epochs=1", "--set", "sample_predictions=0"]
    start, out = tmp_path / "start", tmp_path / "run"
    run_here("--config", tiny_recipe, "--data", data, "--out", start, *short)
    run_here("--config", tiny_recipe, "--data", data, "--out", out, "--weights", start / "last.safetensors", *short)
    assert load_checkpoint(out / "last.safetensors")[1].training["started_from"] == "last.safetensors"
    # From the state, because --resume takes no --weights.
    assert TrainingState.load(out / "state.pt").weights == "last.safetensors"


def test_start_weights_are_epoch_0_and_the_best_of_a_run_that_makes_them_worse(
    data: Path, tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = ["--set", "epochs=1", "--set", "model.fusion=add", "--set", "sample_predictions=1"]
    start, out = tmp_path / "start", tmp_path / "run"
    run_here("--config", tiny_recipe, "--data", data, "--out", start, *short)
    fitness = iter([0.5, 0.4])
    monkeypatch.setattr(Validation, "measure", lambda *_: {"fused_mAP50": 0.6, "fitness": next(fitness)})
    output = run_here(
        "--config", tiny_recipe, "--data", data, "--out", out, "--weights", start / "last.safetensors", *short
    )
    assert "start weights  fused_mAP50 0.600" in output and "(the start weights, fitness 0.500)" in output
    rows = list(csv.DictReader((out / "results.csv").open()))
    assert [row["epoch"] for row in rows] == ["0", "1"] and rows[0]["train_box"] == "" and rows[1]["train_box"]
    assert list(rows[0])[:2] == ["epoch", "train_box"]
    assert sorted(path.name for path in (out / "samples").iterdir()) == ["epoch_0000.jpg", "epoch_0001.jpg"]
    given, best, last = (
        load_checkpoint(path)[0].state_dict()
        for path in (start / "last.safetensors", out / "best.safetensors", out / "last.safetensors")
    )
    assert all(torch.equal(value, best[name]) for name, value in given.items())
    assert not all(torch.equal(value, last[name]) for name, value in given.items())


def test_another_canvas_than_that_of_the_weights_is_announced_and_finetune_keeps_theirs(
    data: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    short = ["--set", "epochs=1", "--set", "sample_predictions=0"]
    start = tmp_path / "start"
    run_here("--config", tiny_recipe, "--data", data, "--out", start, *short, "--set", "model.fusion=add")
    weights = ["--data", data, "--weights", start / "last.safetensors"]
    other = ["--config", tiny_recipe, *short, "--set", "input_size=[96, 64]", "--set", "thermal={}"]
    output = run_here(*weights, *other, "--out", tmp_path / "other")
    assert "canvas is 96x64, 'last.safetensors' was trained at 64x64" in output
    assert "--set input_size=checkpoint keeps 64x64" in output and "--set thermal=checkpoint" in output
    assert load_checkpoint(tmp_path / "other" / "last.safetensors")[1].input_size == (96, 64)

    output = run_here(*weights, "--config", "finetune", *short, "--out", tmp_path / "finetune")
    assert "warning" not in output and "close_mosaic_epochs 10 is more than a quarter of 1 epochs" in output
    model, metadata = load_checkpoint(tmp_path / "finetune" / "last.safetensors")
    assert (metadata.input_size, model.config.fusion) == ((64, 64), "add")
    assert metadata.thermal == ThermalScaling("range", range_max=16383)
