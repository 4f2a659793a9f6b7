# SPDX-License-Identifier: Apache-2.0
"""Plans of ablations: factors, bad plans and the plans that ship."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ablation_grids import write_plan
from typer.testing import CliRunner

from fusion_mamba_ros.analysis.grid_plan import GridPlan
from fusion_mamba_ros.cli import app


def test_factors_change_one_field_each_around_the_base(tmp_path: Path) -> None:
    base = {"set": {"model.fusion_mamba.dssf_count": 2}}
    factors = {"model.fusion_mamba.gate": [False], "model.levels": [[4, 5]], "model.fusion_mamba.dssf_count": [1, 4]}
    plan = GridPlan.read(write_plan(tmp_path, base=base, variants={}, factors=factors))
    models = {name: plan.recipe_of(name, 0, 1).model for name in plan.variants}
    assert list(models) == ["base", "gate=false", "levels=4+5", "dssf_count=1", "dssf_count=4"]
    different = {
        name: {
            *(f for f in ("gate", "dssf_count", "sscs") if vars(m.operator)[f] != vars(models["base"].operator)[f]),
            *(["levels"] if m.levels != models["base"].levels else []),
        }
        for name, m in models.items()
    }
    assert list(different.values()) == [set(), {"gate"}, {"levels"}, {"dssf_count"}, {"dssf_count"}]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 0}, "epochs is 0: give a whole number of at least 1"),
        ({"seeds": []}, "seeds is []"),
        ({"seeds": [1, 1]}, "list each seed once"),
        ({"seeds": 3}, "seeds is 3: write it as a list"),
        ({"budgets": ["money"]}, "budgets is ['money']: list any of epochs, time"),
        ({"budgets": ["time"]}, "time_reference is ''"),
        ({"variants": {"plain": {}}}, "variant 'plain' has the name of the base"),
        ({"base": {"name": 8}, "variants": {8: {}}}, "variant '8' has the name of the base"),
        ({"variants": {8: {}, "8": {}}}, "two variants have the name '8'"),
        ({"variants": {"a b": {}, "a/b": {}}}, "would have the same folder"),
        ({"variants": {"other": {"model.fusion": "magic"}}}, "fusion is 'magic': choose"),
        ({"variants": {"other": {"epochs": 3}}}, "the plan sets epochs in a recipe"),
        ({"factors": {"model.levels": 3}}, "factors.model.levels is 3: list the values"),
        ({"start": {"epoch": 3}}, "start has no field 'epoch': use epochs, set"),
        ({"colour": 3}, "the plan has no field 'colour'"),
        ({"recipe": "none.yaml"}, "none.yaml' cannot be read"),
    ],
    ids=str,
)
def test_bad_plan_is_refused_with_one_sentence(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    result = CliRunner().invoke(
        app, ["analyze", "ablation", str(write_plan(tmp_path, **changes)), "--data", str(tmp_path), "--out", "none"]
    )
    assert result.exit_code == 2
    assert words in result.stderr and len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("plan", sorted((Path(__file__).parents[1] / "config" / "analyze").glob("*.yaml")), ids=str)
def test_shipped_plans_can_be_used(plan: Path) -> None:
    read = GridPlan.read(plan)
    assert len(read.seeds) >= 3 and len(read.variants) >= 7 and read.start is not None
