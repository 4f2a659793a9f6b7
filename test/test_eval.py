# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba eval`, and `compare` on what it wrote, run as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from paired_folders import write_paired_yolo
from typer.testing import CliRunner

from fusion_mamba_ros.cli import app
from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata, save_checkpoint
from fusion_mamba_ros.perception.predictor import Predictor

run = CliRunner()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_paired_yolo(tmp_path / "data", {"train": ["00001D"], "val": ["00003D", "00004N", "00005N"]})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    model = FusionMambaDetector(ModelConfig(classes=3, fusion="add"))
    save_checkpoint(path, model, CheckpointMetadata(("person", "bicycle", "car"), (64, 64)))
    return path


def test_eval_writes_metrics_of_every_mode_and_compare_reads_them(
    folder: Path, tmp_path: Path, checkpoint: Path
) -> None:
    arguments = ["eval", "--checkpoint", str(checkpoint), "--data", str(folder), "--out", str(tmp_path / "eval")]
    result = run.invoke(app, [*arguments, "--device", "cpu", "--worst", "2"])
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "eval" / "metrics.json").read_text())
    assert set(content["modes"]) == {"fused", "rgb_only", "thermal_only"}
    assert content["modes"]["fused"]["images"] == 3 and content["split"] == "val"
    assert set(content["modes"]["fused"]["groups"]) == {"day", "night"}
    result = run.invoke(
        app,
        ["compare", str(tmp_path / "eval"), str(tmp_path / "eval"), "--second-mode", "rgb_only", "--samples", "100"],
    )
    assert result.exit_code == 0, result.output
    assert "second - first" in result.output and "3 images" in result.output


def test_eval_counts_and_shows_true_boxes_of_classes_that_the_checkpoint_lacks(
    folder: Path, tmp_path: Path, checkpoint: Path
) -> None:
    (folder / "classes.txt").write_text("person\ndog\nboat\n")
    for stem, lines in (("00003D", [0, 1, 1]), ("00004N", [1, 2]), ("00005N", [0])):
        boxes = "".join(f"{label} 0.{3 + place} 0.5 0.2 0.2\n" for place, label in enumerate(lines))
        (folder / "labels" / f"{stem}.txt").write_text(boxes)
    arguments = ["eval", "--checkpoint", str(checkpoint), "--data", str(folder), "--out", str(tmp_path / "eval")]
    result = run.invoke(app, [*arguments, "--device", "cpu", "--worst", "0", "--mode", "fused"])
    assert result.exit_code == 0, result.output
    words = "4 of 6 true boxes are of classes that the checkpoint lacks and are not measured (dog 3, boat 1)"
    assert f"warning: {words}" in result.output
    content = json.loads((tmp_path / "eval" / "metrics.json").read_text())
    assert content["unknown_boxes"] == {"dog": 3, "boat": 1} and content["modes"]["fused"]["boxes"] == 2
    page = (tmp_path / "eval" / "report.html").read_text()
    assert words in page and "<td>dog</td><td>3</td><td>–</td><td>–</td>" in page


def test_eval_joins_several_data_sets(folder: Path, tmp_path: Path, checkpoint: Path) -> None:
    other = write_paired_yolo(tmp_path / "other", {"val": ["x"]})
    arguments = ["--data", str(folder), "--data", str(other), "--mode", "fused", "--worst", "0"]
    out = tmp_path / "eval"
    result = run.invoke(app, ["eval", "--checkpoint", str(checkpoint), *arguments, "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert json.loads((out / "metrics.json").read_text())["modes"]["fused"]["images"] == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--split", "test"], "no usable pair in split 'test'"),
        (["--mode", "stereo"], "mode stereo"),
        (["--device", "tpu"], "tpu"),
        (["--checkpoint", "gone.safetensors"], "gone.safetensors"),
    ],
)
def test_eval_says_in_one_sentence_what_it_cannot_do(
    folder: Path, tmp_path: Path, checkpoint: Path, options: list[str], message: str
) -> None:
    base = ["eval", "--checkpoint", str(checkpoint), "--data", str(folder), "--out", str(tmp_path / "out")]
    result = run.invoke(app, [*base, *options])
    assert result.exit_code == 2 and message in result.output and "Traceback" not in result.output


def test_eval_finds_out_before_the_work_that_out_is_no_folder(
    folder: Path, tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(Predictor, "predict_batch", lambda *_, **__: pytest.fail("it began to work"))
    for out in (tmp_path / "file", tmp_path / "file" / "eval"):
        result = run.invoke(
            app, ["eval", "--checkpoint", str(checkpoint), "--data", str(folder), "--out", str(out), "--device", "cpu"]
        )
        assert result.exit_code == 2 and f"error: --out '{out}' cannot be a folder" in result.output


def test_eval_whose_report_cannot_be_written_is_one_sentence(folder: Path, tmp_path: Path, checkpoint: Path) -> None:
    out = tmp_path / "eval"
    (out / "metrics.json").mkdir(parents=True)
    arguments = ["--data", str(folder), "--out", str(out), "--device", "cpu", "--mode", "fused"]
    result = run.invoke(app, ["eval", "--checkpoint", str(checkpoint), *arguments])
    assert result.exit_code == 2 and "metrics.json" in result.output


def test_compare_names_the_file_that_is_not_there(tmp_path: Path) -> None:
    result = run.invoke(app, ["compare", str(tmp_path), str(tmp_path)])
    assert result.exit_code == 2 and "detections_fused.npz" in result.output
