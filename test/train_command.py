# SPDX-License-Identifier: Apache-2.0
"""The command `train` on a tiny data set, in the process of the test."""

from __future__ import annotations

from pathlib import Path

import training_scenes as scenes
import yaml
from typer.testing import CliRunner

from fusion_mamba_ros.cli import app


def write_recipe(path: Path) -> Path:
    # For 16-bit counts: images of 8 bits pass.
    path.write_text(yaml.safe_dump(scenes.RECIPE | {"thermal": {"method": "range", "range_max": 16383}}))
    return path


def run_here(*arguments: object) -> str:
    """Train in this process, which spares the start of another one; return what was printed."""
    result = CliRunner().invoke(app, ["train", *map(str, arguments), "--threads", "1"])
    assert result.exit_code == 0, result.output
    return result.output
