# SPDX-License-Identifier: Apache-2.0
"""Good and hostile inputs of the commands, and what every command must answer to hostile ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile_files as hostile
import paired_folders
import torch
import yaml
from typer.testing import CliRunner

from fusion_mamba_ros.cli import app
from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata, save_checkpoint

LONG_NAME = "n" * 10_000


class Inputs:
    """Good and hostile inputs, written when a case asks for them."""

    def __init__(self, folder: Path, good_checkpoint: Path, good_bag: Path) -> None:
        self.folder, self.good, self.good_bag = folder, good_checkpoint, good_bag

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def image(self, name: str = "a.png") -> Path:
        paired_folders.write_image(self.folder / name, seed=3)
        return self.folder / name

    def dataset(self, labels: tuple[str, ...] = ("0 0.5 0.5 0.5 0.5",)) -> Path:
        return paired_folders.write_paired_yolo(self.folder / "data", {"train": ["a"], "val": ["b"]}, labels)

    def checkpoint(self, changes: dict[str, Any] | None = None, text: str | None = None) -> Path:
        return hostile.checkpoint(self.folder / "hostile.safetensors", changes, text=text)

    def text(self, name: str, content: str | bytes) -> Path:
        return hostile.text_file(self.folder / name, content)

    def bag(self, change: Callable[[dict[str, Any]], None] | str) -> Path:
        """Return a copy of the good bag with its metadata changed or replaced."""
        bag = self.folder / "bag"
        bag.mkdir()
        for file in self.good_bag.iterdir():
            (bag / file.name).write_bytes(file.read_bytes())
        path = bag / "metadata.yaml"
        if isinstance(change, str):
            path.write_text(change)
        else:
            document = yaml.safe_load(path.read_text())
            change(document["rosbag2_bagfile_information"])
            path.write_text(yaml.safe_dump(document))
        return bag


def write_good_checkpoint(path: Path) -> Path:
    torch.manual_seed(0)
    model = FusionMambaDetector(ModelConfig(classes=2, fusion="add"))
    save_checkpoint(path, model, CheckpointMetadata(("person", "car"), (96, 64)))
    return path


def write_good_bag(path: Path) -> Path:
    arguments = ["make-bag", "--scene", "night", "--seconds", "0.2", "--out", str(path), "--fps", "10"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    return path


def predict(*arguments: object) -> Callable[[Inputs], list[object]]:
    return lambda inputs: [
        "predict",
        "--rgb",
        inputs.image(),
        "--checkpoint",
        inputs.good,
        "--out",
        inputs.out,
        *arguments,
    ]


def assert_refused(arguments: list[object]) -> None:
    """Run a command. Assert that it ends with exit code 1 or 2 and with one sentence, or with a list of problems."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code in (1, 2), result.output
    said = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in result.output
    # With --strict the problems are listed on stdout instead.
    problems = result.exit_code == 1 and "problems:" in result.stdout
    assert len(said) == 1 or problems, result.stderr
    assert all(len(line) < 2500 for line in said) and "\x1b" not in result.stderr
