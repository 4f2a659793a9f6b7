# SPDX-License-Identifier: Apache-2.0
"""Training that cannot start says so in one sentence, before the work."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import training_scenes as scenes
from typer.testing import CliRunner

from fusion_mamba_ros.cli import app


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenes.write_pairs(tmp_path_factory.mktemp("pairs"), train=2)


@pytest.mark.parametrize("room", [0, 8192], ids=["for nothing", "for the recipe alone"])
def test_disk_that_is_full_at_the_start_is_one_sentence_with_the_path(
    room: int, tiny_recipe: Path, tmp_path: Path
) -> None:
    folder, out = scenes.write_pairs(tmp_path / "pairs", train=2, val=1), tmp_path / "run"

    def limit_files() -> None:
        # A write beyond the limit fails as one on a full disk does, with another number.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    options = ["--config", tiny_recipe, "--data", folder, "--out", out, "--set", "model.fusion=add", "--threads", "1"]
    command = [sys.executable, "-m", "fusion_mamba_ros.cli", "train", *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit_files, timeout=240)
    assert done.returncode == 2, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and str(out) in lines[0] and "free disk space" in lines[0]


@pytest.mark.parametrize("package", ["pycocotools", "matplotlib"])
def test_what_training_needs_is_asked_for_before_the_work(
    data: Path, tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == package else True)
    arguments = ["--config", str(tiny_recipe), "--data", str(data), "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(app, ["train", *arguments])
    assert result.exit_code == 2 and f"pip install {package}" in result.output
    assert not (tmp_path / "run").exists()


def test_cuda_without_cuda_says_what_to_use(
    data: Path, tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    arguments = [
        "--config",
        str(tiny_recipe),
        "--data",
        str(data),
        "--out",
        str(tmp_path / "run"),
        "--accelerator",
        "cuda",
    ]
    result = CliRunner().invoke(app, ["train", *arguments])
    assert result.exit_code == 2, result.output
    assert "finds no CUDA, use 'cpu' or 'auto'" in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "{tmp}/run"], "pass --config"),
        (["--out", "{tmp}/none", "--resume"], "there is no run to resume"),
        (["--out", "{tmp}/run", "--config", "{recipe}", "--resume"], "leave out --config"),
        (["--out", "{tmp}/run", "--config", "{recipe}", "--set", "model.scale=q"], "scale is 'q'"),
        (["--out", "{tmp}/run", "--config", "{recipe}", "--set", "model.modalities={{rgb: 2}}"], "2 channels of rgb"),
        (["--out", "{tmp}/run", "--config", "{recipe}", "--train-split", "holiday"], "holiday"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_bad_request_ends_with_one_sentence(
    arguments: list[str], words: str, data: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    filled = [argument.format(tmp=tmp_path, recipe=tiny_recipe) for argument in arguments]
    result = CliRunner().invoke(app, ["train", "--data", str(data), *filled])
    assert result.exit_code == 2, result.output
    assert words in result.output
    assert not (tmp_path / "run").exists()
