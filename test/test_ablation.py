# SPDX-License-Identifier: Apache-2.0
"""Ablations on a tiny dataset, with runs of one or two optimizer steps."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import training_scenes as scenes
from ablation_grids import grid_of, write_plan
from safetensors.torch import load_file
from typer.testing import CliRunner

from fusion_mamba_ros.analysis.grid_cell import CellJob, run_cell
from fusion_mamba_ros.analysis.grid_plan import GridPlan
from fusion_mamba_ros.analysis.step_time import epochs_of_equal_time, step_seconds
from fusion_mamba_ros.cli import app
from fusion_mamba_ros.training.training_data import SplitChoice

pytestmark = pytest.mark.usefixtures("torch_settings")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenes.write_pairs(tmp_path_factory.mktemp("pairs"), train=4)


def run_here(jobs: list[CellJob], on_done: Callable[[CellJob, int], None]) -> None:
    """Run the cells in this process, which spares the start of others."""
    for job in jobs:
        job.write()
        on_done(job, 0 if run_cell(job) else 130)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """The folder of a complete grid: started by one epoch of addition, with both budgets."""
    folder = tmp_path_factory.mktemp("grid")
    start = {"epochs": 1, "set": {"model.fusion": "add"}}
    plan = write_plan(folder, start=start, budgets=["epochs", "time"], time_reference="plain")
    out = folder / "out"
    out.mkdir()
    (out / "step_seconds.json").write_text(json.dumps({"plain": 0.4, "concat": 0.2}))
    said: list[str] = []
    grid = grid_of(plan, data, out)
    assert grid.run(run_here, threading.Event(), said.append) == []
    assert said[-1] == "concat-2_epochs-seed_1: done, 6 of 6"
    result = CliRunner().invoke(
        app, ["analyze", "ablation", str(plan), "--data", str(data), "--out", str(out), "--report-only"]
    )
    assert result.exit_code == 0, result.output
    return out


def test_cells_of_a_seed_start_from_the_weights_of_its_start_run(finished: Path) -> None:
    for path in finished.glob("cells/*/job.json"):
        job = json.loads(path.read_text())
        start = finished.resolve() / "start" / f"seed_{job['facts']['seed']}" / "last.safetensors"
        assert Path(job["weights"]) == start
        # Row 0 of the history is the validation of the start weights.
        assert json.loads((path.parent / "result.json").read_text())["history"][0]["epoch"] == 0
    assert not list(finished.glob("cells/*/state.pt"))


def test_equal_time_gives_the_faster_variant_more_epochs_and_shares_equal_cells(finished: Path) -> None:
    names = sorted(path.name for path in (finished / "cells").iterdir())
    assert names == [
        f"{variant}_epochs-seed_{seed}" for variant in ("concat-1", "concat-2", "plain-1") for seed in (0, 1)
    ]
    summaries = json.loads((finished / "results.json").read_text())["summaries"]
    assert [(s["name"], s["budget"], s["epochs"], s["seeds"]) for s in summaries] == [
        ("plain", "epochs", 1, [0, 1]),
        ("concat", "epochs", 1, [0, 1]),
        ("plain", "time", 1, [0, 1]),
        ("concat", "time", 2, [0, 1]),
    ]


def test_report_shows_means_over_the_seeds_and_a_comparison_with_the_base(finished: Path) -> None:
    summaries = json.loads((finished / "results.json").read_text())["summaries"]
    for summary in summaries:
        cells = [
            json.loads(
                (
                    finished / "cells" / f"{summary['name']}-{summary['epochs']}_epochs-seed_{seed}" / "result.json"
                ).read_text()
            )
            for seed in (0, 1)
        ]
        found = [cell["metrics"]["modes"]["fused"]["mAP50"] for cell in cells]
        assert summary["figures"]["fused mAP50"] == found
        assert set(summary["comparisons"]) == (
            set() if summary["name"] == "plain" else {"fused", "rgb_only", "thermal_only"}
        )
    table = (finished / "results.md").read_text()
    assert table.count("| concat |") == 4 and "Equal time, fused" in table and "undecided" in table
    assert "The shared start favours" in table
    page = (finished / "report.html").read_text()
    assert page.count("<svg") == 2 and "concat" in page
    assert (finished / "differences.png").stat().st_size > 1000 and (finished / "cost.png").stat().st_size > 1000


def test_second_run_does_nothing_and_another_plan_is_refused(finished: Path, data: Path, tmp_path: Path) -> None:
    plan = finished.parent / "plan.yaml"

    def refuse(jobs: list[CellJob], on_done: Callable[[CellJob, int], None]) -> None:
        assert jobs == []

    assert grid_of(plan, data, finished).run(refuse, threading.Event(), lambda _: None) == []
    with pytest.raises(ValueError, match="holds the cells of another plan: choose another --out"):
        grid_of(write_plan(tmp_path, epochs=3), data, finished)


def test_grid_that_is_killed_goes_on_and_ends_with_the_weights_of_an_undisturbed_one(
    data: Path, tmp_path: Path
) -> None:
    plan = write_plan(tmp_path, seeds=[3], epochs=5, variants={})
    arguments = [str(plan), "--data", str(data)]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert grid_of(plan, data, whole).run(run_here, threading.Event(), lambda _: None) == []
    command = [sys.executable, "-m", "fusion_mamba_ros.cli", "analyze", "ablation", *arguments, "--out", str(killed)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    cell = killed / "cells" / "plain-5_epochs-seed_3"
    wait_until(lambda: (cell / "results.csv").exists(), process)
    process.kill()
    process.wait()
    # The cell notices that its parent is gone, saves and ends.
    wait_until(lambda: "stopped in epoch" in (cell / "log.txt").read_text())
    assert not (cell / "result.json").exists()
    result = CliRunner().invoke(app, ["analyze", "ablation", *arguments, "--out", str(killed)])
    assert result.exit_code == 0, result.output
    assert "plain-5_epochs-seed_3: done, 1 of 1" in result.output
    one, other = (load_file(out / "cells" / cell.name / "last.safetensors") for out in (whole, killed))
    assert all(torch.equal(one[name], other[name]) for name in one)


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes] | None = None) -> None:
    deadline = time.monotonic() + 200
    while not condition():
        assert process is None or process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_failed_cell_is_named_and_the_others_are_trained(data: Path, tmp_path: Path) -> None:
    plan = write_plan(tmp_path, seeds=[0])
    grid = grid_of(plan, data, tmp_path / "out")

    def run_jobs(jobs: list[CellJob], on_done: Callable[[CellJob, int], None]) -> None:
        for job in jobs:
            Path(job.out).mkdir(parents=True, exist_ok=True)
            if job.facts.get("variant") == "concat":
                (Path(job.out) / "log.txt").write_text("epoch 1\nerror: the disk is full\n")
                on_done(job, 2)
            else:
                run_here([job], on_done)

    failed = grid.run(run_jobs, threading.Event(), lambda _: None)
    assert failed == ["concat-1_epochs-seed_0 failed: error: the disk is full"]
    assert (tmp_path / "out" / "cells" / "plain-1_epochs-seed_0" / "result.json").exists()


def test_stop_before_the_start_starts_no_cell(data: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    grid = grid_of(write_plan(tmp_path), data, tmp_path / "out")
    assert grid.run(run_here, stop, lambda _: None) == []
    assert not (tmp_path / "out" / "start").exists()


def test_step_times_and_epochs_of_equal_time(data: Path, tmp_path: Path) -> None:
    plan = GridPlan.read(write_plan(tmp_path))
    recipes = {name: plan.recipe_of(name, 0, 1) for name in plan.variants}
    seconds = step_seconds(recipes, data, SplitChoice(), "cpu")
    assert list(seconds) == ["plain", "concat"] and min(seconds.values()) > 0
    assert epochs_of_equal_time(10, {"a": 1.0, "b": 2.6, "c": 100.0}, "b") == {"a": 26, "b": 10, "c": 1}
