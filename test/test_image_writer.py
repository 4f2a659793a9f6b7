# SPDX-License-Identifier: Apache-2.0
"""Images reach the disk as a whole, or there is an error that names the file."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import hostile_files
import numpy as np
import paired_folders
import pytest
import torch
from typer.testing import CliRunner

from fusion_mamba_ros.cli import app
from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.annotation_writer import AnnotationWriter
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata, save_checkpoint
from fusion_mamba_ros.perception.image_writer import write_image

RGB = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


@contextmanager
def disk_room(size: int) -> Iterator[None]:
    """Let every write beyond ``size`` bytes of a file fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = FusionMambaDetector(ModelConfig(classes=1, fusion="add"))
    branch: Any
    for branch in model.head.class_branches:
        torch.nn.init.constant_(branch[-1].bias, 1.0)  # Untrained, but not silent.
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_checkpoint(path, model, CheckpointMetadata(("person",), (96, 64)))
    return path


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return paired_folders.write_paired_yolo(tmp_path / "data", {"train": ["a"], "val": ["b"]})


def test_an_image_is_written_in_its_colours(tmp_path: Path) -> None:
    write_image(tmp_path / "new" / "a.png", RGB)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "new" / "a.png"))[..., ::-1], RGB)


def test_a_full_disk_names_the_file_and_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"before")
    with disk_room(100), pytest.raises(OSError, match=r"a\.png"):
        write_image(path, RGB)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]
    assert path.read_bytes() == b"before"


@pytest.mark.parametrize("suffix", ["", ".xyz"])
def test_a_name_that_says_no_image_format_is_refused(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(OSError, match="cannot be encoded"):
        write_image(tmp_path / f"a{suffix}", RGB)


def test_names_at_the_limit_of_the_file_system_and_names_that_are_not_utf8_are_written(tmp_path: Path) -> None:
    for path in (tmp_path / f"{'n' * 251}.jpg", hostile_files.not_utf8(tmp_path, ".jpg")):
        write_image(path, RGB)
        assert path.stat().st_size > 0


def test_a_video_on_a_full_disk_is_an_error(tmp_path: Path) -> None:
    writer = AnnotationWriter(tmp_path, as_video=True, rate_hz=10.0, sheet_tiles=4)
    rng = np.random.default_rng(1)
    with disk_room(20_000):
        for number in range(40):
            writer.add(str(number), rng.integers(0, 256, (240, 320, 3), np.uint8))
        with pytest.raises(OSError, match=r"annotated\.mp4"):
            writer.close()


def test_a_video_under_a_folder_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    folder = hostile_files.not_utf8(tmp_path, "")
    folder.mkdir()
    writer = AnnotationWriter(folder, as_video=True, rate_hz=10.0, sheet_tiles=4)
    with pytest.raises(OSError, match="not printable text"):
        writer.add("a", RGB)


@pytest.mark.parametrize("room", [0, 400, 2000])
@pytest.mark.parametrize("command", ["check-data", "predict", "eval", "publish"])
def test_a_full_disk_is_said_by_every_command_that_writes(
    command: str, room: int, dataset: Path, checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    rgb, thermal = dataset / "rgb" / "a.jpg", dataset / "thermal" / "a.png"
    arguments: dict[str, list[object]] = {
        "check-data": ["check-data", dataset, "--out", out],
        "predict": ["predict", "--rgb", rgb, "--thermal", thermal, "--checkpoint", checkpoint, "--out", out],
        "eval": ["eval", "--checkpoint", checkpoint, "--data", dataset, "--out", out],
        "publish": ["publish", checkpoint, "--metrics", tmp_path / "metrics.json", "--out", out / "p.safetensors"],
    }
    (tmp_path / "metrics.json").write_text('{"modes": {}}')
    out.mkdir()
    with disk_room(room):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments[command]])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == 2, result.output
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and str(out) in errors[0], result.stderr


def test_files_whose_names_are_not_utf8_are_predicted_and_checked(
    dataset: Path, checkpoint: Path, tmp_path: Path
) -> None:
    stem = os.fsdecode(b"caf\xe9")
    for folder, suffix in (("rgb", ".jpg"), ("thermal", ".png"), ("labels", ".txt")):
        (dataset / folder / f"a{suffix}").rename(dataset / folder / f"{stem}{suffix}")
    arguments = ["--rgb", dataset / "rgb", "--thermal", dataset / "thermal", "--checkpoint", checkpoint]
    result = CliRunner().invoke(app, ["predict", *map(str, arguments), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / f"{stem}.jpg").stat().st_size > 0
    names = [image["file_name"] for image in json.loads((tmp_path / "out" / "detections.json").read_text())["images"]]
    assert sorted(names) == sorted(["b", stem])
    (dataset / "train.txt").unlink()
    (dataset / "val.txt").unlink()
    result = CliRunner().invoke(app, ["check-data", str(dataset), "--out", str(tmp_path / "check")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "check" / "samples" / f"data_{stem}.jpg").stat().st_size > 0
