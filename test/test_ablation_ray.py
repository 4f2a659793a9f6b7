# SPDX-License-Identifier: Apache-2.0
"""Ablations on a Ray cluster, with a stand-in for Ray."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import training_scenes as scenes
from ablation_grids import grid_of, write_plan
from typer.testing import CliRunner

from fusion_mamba_ros.analysis import grid_workers
from fusion_mamba_ros.analysis.grid_cell import CellJob, run_cell
from fusion_mamba_ros.cli import app


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenes.write_pairs(tmp_path_factory.mktemp("pairs"), train=4)


class RayError(Exception):
    """Stand-in for `ray.exceptions.RayError`."""


class FakeRay:
    """Stand-in for the module `ray`: a cluster that runs one task at a time, and loses the task named ``lost``."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.options_seen: list[dict[str, Any]] = []
        self.cancelled: list[Any] = []
        self.exceptions = SimpleNamespace(RayError=RayError)
        self.lost = ""
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
        if self.lost and self.lost in str(arguments):
            raise RayError("the node died\nof a power cut")
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


def test_lost_ray_task_is_a_failed_cell_and_the_others_go_on(data: Path, tmp_path: Path, ray: FakeRay) -> None:
    codes: dict[str, int] = {}
    jobs = initial_jobs(data, tmp_path)
    ray.lost = "seed_0"
    grid_workers.run_on_ray(
        jobs, "local", threading.Event(), lambda job, code: codes.update({Path(job.out).name: code})
    )
    assert codes == {"seed_0": 1, "seed_1": 0} and ray.ended
    log = (Path(jobs[0].out) / "log.txt").read_text()
    assert log.endswith("error: the Ray task was lost: the node died of a power cut\n")


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
