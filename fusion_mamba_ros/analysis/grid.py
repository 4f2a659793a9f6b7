# SPDX-License-Identifier: Apache-2.0
"""Run an ablation cell by cell: starts first, then one training for each variant, seed and budget."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusion_mamba_ros.analysis.grid_cell import INTERRUPTED, CellJob
from fusion_mamba_ros.analysis.grid_plan import GridPlan, folder_name
from fusion_mamba_ros.analysis.step_time import epochs_of_equal_time, step_seconds
from fusion_mamba_ros.perception.atomic_write import write_atomically
from fusion_mamba_ros.training.recipe import TrainingError
from fusion_mamba_ros.training.training_data import SplitChoice

RunJobs = Callable[[list[CellJob], Callable[[CellJob, int], None]], None]


@dataclass(frozen=True)
class GridSettings:
    """Where and how the cells run. ``threads``: CPU threads of each cell."""

    data: Path
    out: Path
    splits: SplitChoice
    threads: int = 1
    accelerator: str = "auto"


class Grid:
    """All cells of a plan, in one folder. A cell that is already complete is not run again.

    - `plan.json`: the plan and the data, which a later run must not change
    - `step_seconds.json`: the time of a training step of each variant, for the budget `time`
    - `start/seed_SEED/`: the run, or the random weights, that start the cells of a seed
    - `cells/VARIANT-N_epochs-seed_SEED/`: a training run each, with `result.json`, detections and `log.txt`

    Raises `TrainingError` if the folder holds the cells of another plan.
    """

    def __init__(self, plan: GridPlan, settings: GridSettings) -> None:
        self.plan, self.settings = plan, settings
        self._keep_plan()

    def _keep_plan(self) -> None:
        path = self.settings.out / "plan.json"
        values = {
            "plan": self.plan.to_dict(),
            "recipes": {name: self.plan.recipe_of(name, 0, 1).to_dict() for name in self.plan.variants},
            "data": str(self.settings.data.resolve()),
            "splits": vars(self.settings.splits),
        }
        text = json.dumps(values, indent=1)
        if path.exists() and json.loads(path.read_text()) != json.loads(text):
            raise TrainingError(f"'{self.settings.out}' holds the cells of another plan: choose another --out")
        write_atomically(path, f"{text}\n".encode())

    def epochs(self, report: Callable[[str], None] = lambda text: None) -> dict[str, dict[str, int]]:
        """Return the epochs of each variant, by budget; measure the time of a step first if this needs it."""
        by_budget: dict[str, dict[str, int]] = {}
        if "epochs" in self.plan.budgets:
            by_budget["epochs"] = dict.fromkeys(self.plan.variants, self.plan.epochs)
        if "time" in self.plan.budgets:
            seconds = self._step_seconds(report)
            by_budget["time"] = epochs_of_equal_time(self.plan.epochs, seconds, self.plan.time_reference)
        return by_budget

    def _step_seconds(self, report: Callable[[str], None]) -> dict[str, float]:
        path = self.settings.out / "step_seconds.json"
        if not path.exists():
            report("measuring the time of a training step of each variant")
            recipes = {name: self.plan.recipe_of(name, 0, 1) for name in self.plan.variants}
            seconds = step_seconds(recipes, self.settings.data, self.settings.splits, self.settings.accelerator)
            write_atomically(path, f"{json.dumps(seconds, indent=1)}\n".encode())
        found: dict[str, float] = json.loads(path.read_text())
        return found

    def starts(self) -> list[CellJob]:
        """Return the jobs that make the start weights of each seed."""
        kind = "initial" if self.plan.start is None else "train"
        return [
            self._job(
                kind,
                self.plan.start_recipe(seed).to_dict(),
                self._start_folder(seed),
                {"start_of_seed": seed},
                evaluated=False,
            )
            for seed in self.plan.seeds
        ]

    def cells(self, epochs: dict[str, dict[str, int]]) -> list[CellJob]:
        """Return the jobs of all cells, seed by seed. Budgets that give a variant the same epochs share a cell."""
        jobs: dict[Path, CellJob] = {}
        for seed in self.plan.seeds:
            for of_variant in epochs.values():
                for variant, count in of_variant.items():
                    folder = self.cell_folder(variant, count, seed)
                    jobs[folder] = self._job(
                        "train",
                        self.plan.recipe_of(variant, seed, count).to_dict(),
                        folder,
                        {"variant": variant, "seed": seed, "epochs": count},
                        weights=str(self._start_folder(seed) / "last.safetensors"),
                    )
        return list(jobs.values())

    def cell_folder(self, variant: str, epochs: int, seed: int) -> Path:
        """Return the folder of one cell."""
        return self.settings.out / "cells" / f"{folder_name(variant)}-{epochs}_epochs-seed_{seed}"

    def _start_folder(self, seed: int) -> Path:
        return self.settings.out / "start" / f"seed_{seed}"

    def _job(self, kind: str, recipe: dict[str, Any], out: Path, facts: dict[str, Any], **more: Any) -> CellJob:
        return CellJob(
            kind,
            recipe,
            str(self.settings.data.resolve()),
            vars(self.settings.splits),
            str(out.resolve()),
            facts,
            threads=self.settings.threads,
            accelerator=self.settings.accelerator,
            **more,
        )

    def run(self, run_jobs: RunJobs, stop: threading.Event, report: Callable[[str], None]) -> list[str]:
        """Run what is not done yet and return one sentence for each job that failed.

        ``run_jobs(jobs, on_done)`` runs jobs and calls ``on_done`` with each job and its exit code. It returns early
        when ``stop`` is set; the cells then resume in the next run.
        """
        failed: list[str] = []
        for jobs in (self.starts, lambda: self.cells(self.epochs(report))):
            if failed or stop.is_set():
                break
            everything = jobs()
            waiting = [job for job in everything if not job.done]
            done = len(everything) - len(waiting)

            def on_done(job: CellJob, code: int, total: int = len(everything)) -> None:
                nonlocal done
                name = Path(job.out).name
                if code == 0:
                    done += 1
                    report(f"{name}: done, {done} of {total}")
                elif code != INTERRUPTED and not stop.is_set():
                    failed.append(f"{name} failed: {_last_line(Path(job.out) / 'log.txt')}")
                    report(failed[-1])
                else:
                    report(f"{name}: interrupted, resumes in the next run")

            run_jobs(waiting, on_done)
        return failed


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else f"see '{path}'"
