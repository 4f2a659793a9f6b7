# SPDX-License-Identifier: Apache-2.0
"""What training and its commands must say instead of doing it silently."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from paired_folders import write_lines, write_paired_yolo
from typer.testing import CliRunner

from fusion_mamba_ros.cli import app
from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata, save_checkpoint
from fusion_mamba_ros.training.training_data import SplitChoice, open_training_data


def write_checkpoint(path: Path, **training: object) -> Path:
    torch.manual_seed(0)
    model = FusionMambaDetector(ModelConfig(fusion="add", classes=1))
    save_checkpoint(path, model, CheckpointMetadata(("person",), (64, 64), training=training))
    return path


def test_boxes_whose_class_is_not_in_the_list_are_counted_at_the_start_of_a_run(tmp_path: Path) -> None:
    labels = ["0 0.5 0.5 0.5 0.5", "1 0.5 0.5 0.2 0.2", "1 0.2 0.2 0.1 0.1", "2 0.7 0.7 0.2 0.2"]
    write_paired_yolo(tmp_path / "road", {"train": ["a", "b"], "val": ["c"]}, labels)
    write_lines(tmp_path / "d.yaml", ["classes: [person]", "datasets: [road]"])
    data = open_training_data(tmp_path / "d.yaml", SplitChoice(), None)
    assert data.warnings() == [
        "6 boxes of split train are left out, their classes are not in the list (bicycle 4, car 2): "
        "add them to 'classes', or map them with 'rename'",
        "3 boxes of split val are left out, their classes are not in the list (bicycle 2, car 1): "
        "add them to 'classes', or map them with 'rename'",
    ]
    assert open_training_data(tmp_path / "road", SplitChoice(), None).warnings() == []


def test_calibrate_names_the_boxes_that_it_does_not_use(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    checkpoint = write_checkpoint(tmp_path / "a.safetensors")
    write_paired_yolo(tmp_path / "road", {"val": ["a"]}, ["0 0.5 0.5 0.5 0.5", "2 0.7 0.7 0.2 0.2"])
    out = tmp_path / "b.safetensors"
    result = CliRunner().invoke(
        app, ["calibrate", str(checkpoint), "--data", str(tmp_path / "road"), "--out", str(out), "--device", "cpu"]
    )
    # Said before the fit, which these random weights do not allow.
    assert "warning: boxes of classes that the checkpoint lacks are in no figure (car 1)" in result.output


@pytest.mark.parametrize(
    ("training", "options", "warned"),
    [
        ({"recipe": {"tiles": "auto"}}, [], True),
        ({"recipe": {"tiles": "auto"}}, ["--tiles", "2x2"], False),
        ({}, [], False),
    ],
)
def test_a_checkpoint_that_was_trained_for_tiles_asks_for_them(
    tmp_path: Path, training: dict[str, object], options: list[str], warned: bool
) -> None:
    checkpoint = write_checkpoint(tmp_path / "a.safetensors", **training)
    write_paired_yolo(tmp_path / "road", {"val": ["a"]})
    command = ["predict", "--thermal", str(tmp_path / "road" / "thermal"), "--checkpoint", str(checkpoint)]
    result = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "out"), "--no-images", *options])
    assert result.exit_code == 0, result.output
    assert ("larger images are shrunk without them: give --tiles auto" in result.output) == warned


def test_distill_escapes_what_a_file_brings_into_its_message(tmp_path: Path) -> None:
    name = tmp_path / "two\nlines.safetensors"
    arguments = [
        "distill",
        "--teacher",
        str(name),
        "--images",
        str(tmp_path / "no.yaml"),
        "--out",
        str(tmp_path / "out"),
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2 and len(result.output.strip().splitlines()) == 1
    assert result.output.startswith("error: ") and "two\\nlines" in result.output
