# SPDX-License-Identifier: Apache-2.0
"""The command, in a process of its own, on a tiny data set."""

from __future__ import annotations

import csv
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import training_scenes as scenes
from train_command import run_here
from typer.testing import CliRunner

from fusion_mamba_ros.cli import app
from fusion_mamba_ros.perception.checkpoint import load_checkpoint
from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling
from fusion_mamba_ros.training.training_state import TrainingState

pytestmark = pytest.mark.usefixtures("torch_settings")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Enough steps that a run is still under way when the signal comes.
    return scenes.write_pairs(tmp_path_factory.mktemp("pairs"), train=16)


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "fusion_mamba_ros.cli", "train", *map(str, arguments), "--threads", "1"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ})


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.02)


def test_interrupted_run_says_how_to_go_on_and_ends_like_an_uninterrupted_one(
    data: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    run_here("--config", tiny_recipe, "--data", data, "--out", whole)

    process = start("--config", tiny_recipe, "--data", data, "--out", halves)
    wait_for(halves / "events", process)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 130
    assert f"--out {halves} --resume" in out.replace("\n", " ")
    run_here("--data", data, "--out", halves, "--resume")

    ends = [TrainingState.load(folder / "state.pt") for folder in (whole, halves)]
    assert [state.epoch for state in ends] == [2, 2]
    for name, tensor in ends[0].average.items():
        assert torch.equal(tensor, ends[1].average[name]), name

    model, metadata = load_checkpoint(whole / "best.safetensors")
    assert metadata.class_names == ("person", "bicycle", "car")[: model.config.classes]
    assert set(metadata.metrics["modes"]) == {"fused", "rgb_only", "thermal_only"}
    assert metadata.training["recipe"]["epochs"] == 2
    assert metadata.training["started_from"] == "random weights"
    assert metadata.thermal == ThermalScaling("range", range_max=16383)
    rows = list(csv.DictReader((whole / "results.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert {"train_box", "val_box", "fused_mAP50", "rgb_only_mAP", "fitness", "epoch_seconds"} <= set(rows[0])
    assert (whole / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((whole / "samples").glob("*.jpg"))) == 2
    assert list((whole / "events").iterdir())


def test_broken_images_and_pairs_in_both_splits_are_named_and_training_goes_on(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    folder = scenes.write_pairs(tmp_path / "pairs", train=2)
    # Its ends are right, so that only decoding finds it.
    (folder / "rgb" / "pair_02.jpg").write_bytes(b"\xff\xd8 broken \xff\xd9")
    short = ["--set", "epochs=1", "--set", "model.fusion=add", "--set", "sample_predictions=2", "--set", "workers=1"]
    output = run_here(
        "--config", tiny_recipe, "--data", folder, "--out", tmp_path / "run", "--train-split", "all", *short
    )
    assert "2 of the 2 validation pairs are trained on as well" in output
    assert "pairs/pair_02 is left out: " in output
    assert "pairs/pair_02 is left out of the validation: " in output
    assert "pairs/pair_02 could not be read (" in output and "other pairs took its place" in output
    assert len(list((tmp_path / "run" / "samples").iterdir())) == 1


@pytest.mark.parametrize(
    ("states_written", "remedy", "again"),
    [(0, "free disk space and start again", ["--config", "{recipe}"]), (1, "continue with --resume", ["--resume"])],
    ids=["before the first step", "at the end of the first epoch"],
)
def test_run_whose_disk_was_full_in_the_first_epoch_can_be_gone_on_with(
    states_written: int,
    remedy: str,
    again: list[str],
    tiny_recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, out = scenes.write_pairs(tmp_path / "pairs", train=2, val=1), tmp_path / "run"
    base = ["--data", folder, "--out", out]
    short = ["--set", "model.fusion=add", "--set", "epochs=1", "--set", "sample_predictions=0"]
    room, replace = iter(range(states_written)), os.replace

    def replace_if_there_is_room(source: str, target: Path) -> None:
        if target.name == "state.pt" and next(room, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    with monkeypatch.context() as full:
        full.setattr(os, "replace", replace_if_there_is_room)
        refused = CliRunner().invoke(app, ["train", *map(str, base), "--config", str(tiny_recipe), *short])
    assert refused.exit_code == 2 and "No space left on device" in refused.output and remedy in refused.output
    filled = [argument.format(recipe=tiny_recipe) for argument in again]
    assert "best: " in run_here(*base, *filled, *(short if "--config" in filled else []))


def test_homography_of_the_training_data_goes_into_the_checkpoint(tiny_recipe: Path, tmp_path: Path) -> None:
    shift = [[1.0, 0.0, 0.25], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    folder, out = scenes.write_pairs(tmp_path / "pairs", train=2, val=1), tmp_path / "run"
    (tmp_path / "data.yaml").write_text(f"datasets: [{{path: {folder}, homography: {shift}}}]\n")
    short = ["--set", "model.fusion=add", "--set", "epochs=1", "--set", "sample_predictions=0"]
    run_here("--config", tiny_recipe, "--data", tmp_path / "data.yaml", "--out", out, *short)
    _, metadata = load_checkpoint(out / "last.safetensors")
    assert [list(row) for row in metadata.homography] == shift


def test_resumed_run_keeps_its_splits_and_refuses_others(tiny_recipe: Path, tmp_path: Path) -> None:
    folder, out = scenes.write_pairs(tmp_path / "pairs", train=2, val=1), tmp_path / "run"
    (folder / "val.txt").rename(folder / "test.txt")
    short = ["--set", "model.fusion=add", "--set", "epochs=1", "--set", "sample_predictions=0"]
    run_here("--config", tiny_recipe, "--data", folder, "--out", out, "--val-split", "test", *short)
    output = run_here("--data", folder, "--out", out, "--resume")
    assert "2 pairs to train, 1 to validate" in output
    assert "warning: the run is validated on its test split" in output and "--val-fraction" in output
    again = ["train", "--data", str(folder), "--out", str(out), "--resume"]
    refused = CliRunner().invoke(app, [*again, "--val-split", "train"])
    assert refused.exit_code == 2 and "started with --val-split test: leave out --val-split train" in refused.output

    (folder / "test.txt").write_text("pair_01\npair_02\n")
    (folder / "train.txt").write_text("pair_00\npair_01\n")
    (folder / "data.yaml").write_text("datasets: [{path: ., name: pairs}]\nallow_overlap: true\n")
    refused = CliRunner().invoke(app, ["train", "--data", str(folder / "data.yaml"), *again[3:]])
    assert refused.exit_code == 2 and "was validated on 1 pairs" in refused.output

    state = torch.load(out / "state.pt", weights_only=True)
    del state["splits"], state["validation"], state["epoch_seconds"]
    state["seconds"] = 5.0
    torch.save(state, out / "state.pt")
    run_here("--data", folder / "data.yaml", "--out", out, "--resume", "--val-split", "test")


def test_val_fraction_holds_training_pairs_out_and_a_resumed_run_keeps_it(tiny_recipe: Path, tmp_path: Path) -> None:
    folder, out = scenes.write_pairs(tmp_path / "pairs", train=4, val=1), tmp_path / "run"
    (folder / "val.txt").unlink()
    short = ["--set", "model.fusion=add", "--set", "epochs=1", "--set", "sample_predictions=0"]
    base = ["--data", folder, "--out", out]
    output = run_here("--config", tiny_recipe, *base, "--val-fraction", "0.25", *short)
    assert "3 pairs to train, 1 to validate" in output and "warning" not in output
    provenance = load_checkpoint(out / "last.safetensors")[1].training
    assert provenance["val"] == {"split": "train", "pairs": 1, "held_out_fraction": 0.25}
    assert "3 pairs to train, 1 to validate" in run_here(*base, "--resume")
    for options, words in (
        (["--resume", "--val-fraction", "0.5"], "was started with --val-fraction 0.25: leave out --val-fraction 0.5"),
        (["--config", tiny_recipe, "--val-fraction", "0.5", "--val-split", "val"], "leave out --val-split"),
        (["--config", tiny_recipe, "--val-fraction", "1.5"], "give more than 0 and less than 1"),
    ):
        refused = CliRunner().invoke(app, ["train", *map(str, [*base, *options])])
        assert refused.exit_code == 2 and words in refused.output, refused.output
