# SPDX-License-Identifier: Apache-2.0
"""Ablations on a tiny dataset, with runs of one or two optimizer steps."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import training_scenes as scenes
import yaml
from safetensors.torch import load_file
from typer.testing import CliRunner

from fusion_mamba_ros.analysis import grid_workers
from fusion_mamba_ros.analysis.grid import Grid, GridSettings
from fusion_mamba_ros.analysis.grid_cell import CellJob, run_cell
from fusion_mamba_ros.analysis.grid_plan import GridPlan
from fusion_mamba_ros.analysis.step_time import epochs_of_equal_time, step_seconds
from fusion_mamba_ros.cli import app
from fusion_mamba_ros.training.training_data import SplitChoice

PLAN: dict[str, Any] = {
    "recipe": "tiny.yaml",
    "set": {"batch_size": 4},
    "epochs": 1,
    "seeds": [0, 1],
    "base": {"name": "plain", "set": {"model.fusion": "add"}},
    "variants": {"concat": {"model.fusion": "concat"}},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenes.write_pairs(tmp_path_factory.mktemp("pairs"), train=4)


@pytest.fixture(autouse=True)
def _torch_as_it_was() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


def write_plan(folder: Path, **changes: Any) -> Path:
    recipe = {name: value for name, value in scenes.RECIPE.items() if name != "epochs"}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(recipe))
    (folder / "plan.yaml").write_text(yaml.safe_dump({**PLAN, **changes}, sort_keys=False))
    return folder / "plan.yaml"


def run_here(jobs: list[CellJob], on_done: Callable[[CellJob, int], None]) -> None:
    """Run the cells in this process, which spares the start of others."""
    for job in jobs:
        job.write()
        on_done(job, 0 if run_cell(job) else 130)


def grid_of(plan: Path, data: Path, out: Path) -> Grid:
    return Grid(GridPlan.read(plan), GridSettings(data, out, SplitChoice()))


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


class FakeRay:
    """Stands for the module `ray`: a cluster that runs one task at a time when it is waited for."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.options_seen: list[dict[str, Any]] = []
        self.cancelled: list[Any] = []
        self.ended = False

    def init(self, address: str, **_: Any) -> None:
        if address == "nowhere:1":
            raise ConnectionError("refused")
        self.addresses.append(address)

    def remote(self, function: Callable[..., Any]) -> Any:
        cluster = self

        class Task:
            def options(self, **options: Any) -> Any:
                cluster.options_seen.append(options)
                return self

            def remote(self, *arguments: Any) -> Any:
                return (function, arguments)

        return Task()

    def wait(self, references: list[Any], **_: Any) -> tuple[list[Any], list[Any]]:
        return references[:1], references[1:]

    def get(self, reference: Any) -> Any:
        function, arguments = reference
        return function(*arguments)

    def cancel(self, reference: Any) -> None:
        self.cancelled.append(reference)

    def shutdown(self) -> None:
        self.ended = True


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    cluster = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", cluster)
    monkeypatch.setattr(grid_workers, "run_process", lambda job_file: 0 if run_cell(CellJob.read(job_file)) else 130)
    return cluster


def initial_jobs(data: Path, folder: Path) -> list[CellJob]:
    return grid_of(write_plan(folder), data, folder / "out").starts()


def test_ray_runs_every_job_with_its_cpus(data: Path, tmp_path: Path, ray: FakeRay) -> None:
    codes: dict[str, int] = {}
    jobs = initial_jobs(data, tmp_path)
    grid_workers.run_on_ray(
        jobs, "local", threading.Event(), lambda job, code: codes.update({Path(job.out).name: code})
    )
    assert codes == {"seed_0": 0, "seed_1": 0} and all(job.done for job in jobs)
    assert ray.addresses == ["local"] and ray.ended
    assert ray.options_seen == [{"num_cpus": 1, "max_retries": 0}] * 2


def test_ray_cancels_its_jobs_when_it_is_stopped(data: Path, tmp_path: Path, ray: FakeRay) -> None:
    stop = threading.Event()
    stop.set()
    jobs = initial_jobs(data, tmp_path)
    grid_workers.run_on_ray(jobs, "local", stop, lambda job, code: pytest.fail("no job was run"))
    assert len(ray.cancelled) == 2 and ray.ended and not any(job.done for job in jobs)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--ray", "nowhere:1"], "--ray nowhere:1: no cluster answers (refused)"),
        (["--ray", "local", "--jobs", "2"], "--ray decides itself how many cells run at a time"),
    ],
    ids=str,
)
def test_bad_cluster_is_one_sentence(
    data: Path, tmp_path: Path, ray: FakeRay, arguments: list[str], words: str
) -> None:
    plan = write_plan(tmp_path)
    result = CliRunner().invoke(
        app, ["analyze", "ablation", str(plan), "--data", str(data), "--out", str(tmp_path / "out"), *arguments]
    )
    assert result.exit_code == 2 and words in result.stderr
