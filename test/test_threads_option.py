# SPDX-License-Identifier: Apache-2.0
"""Every command that computes has the option `--threads`, and it reaches the library that computes."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
import typer
from typer.testing import CliRunner

from fusion_mamba_ros.cli import app

# These only read, write or rearrange files.
WITHOUT = {"check-data", "compare", "import-weights", "info", "make-bag", "publish"}


def test_every_command_that_computes_has_it() -> None:
    commands = dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    commands |= {f"analyze {name}": command for name, command in commands.pop("analyze").commands.items()}
    lacking = {
        name
        for name, command in commands.items()
        if not any("--threads" in parameter.opts for parameter in command.params)
    }
    assert lacking == WITHOUT


def test_register_sets_the_threads_of_opencv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(cv2, "setNumThreads", asked.append)
    arguments = ["register", "--rgb", str(tmp_path / "absent"), "--thermal", str(tmp_path), "--threads", "3"]
    assert CliRunner().invoke(app, arguments).exit_code == 2
    assert asked == [3]
