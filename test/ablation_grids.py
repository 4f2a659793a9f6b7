# SPDX-License-Identifier: Apache-2.0
"""Small ablation grids for the tests of `fusion-mamba analyze ablation`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import training_scenes as scenes
import yaml

from fusion_mamba_ros.analysis.grid import Grid, GridSettings
from fusion_mamba_ros.analysis.grid_plan import GridPlan
from fusion_mamba_ros.training.training_data import SplitChoice

PLAN: dict[str, Any] = {
    "recipe": "tiny.yaml",
    "set": {"batch_size": 4},
    "epochs": 1,
    "seeds": [0, 1],
    "base": {"name": "plain", "set": {"model.fusion": "add"}},
    "variants": {"concat": {"model.fusion": "concat"}},
}


def write_plan(folder: Path, **changes: Any) -> Path:
    """Write a plan and its recipe to ``folder``; ``changes`` replace parts of `PLAN`."""
    recipe = {name: value for name, value in scenes.RECIPE.items() if name != "epochs"}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(recipe))
    (folder / "plan.yaml").write_text(yaml.safe_dump({**PLAN, **changes}, sort_keys=False))
    return folder / "plan.yaml"


def grid_of(plan: Path, data: Path, out: Path) -> Grid:
    """Return the grid of a plan file."""
    return Grid(GridPlan.read(plan), GridSettings(data, out, SplitChoice()))
