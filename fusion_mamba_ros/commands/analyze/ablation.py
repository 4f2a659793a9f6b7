# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba analyze ablation`: train variants of a model and compare them with a base."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from fusion_mamba_ros.commands.failure import fail


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command("ablation")
    def ablation(
        config: Annotated[Path, typer.Argument(help="Plan: base, variants or factors, seeds, budgets (YAML).")],
        data: Annotated[Path, typer.Option(help="Dataset folder, or YAML file that joins several.")],
        out: Annotated[Path, typer.Option(help="Folder of the cells and of the report.")],
        jobs: Annotated[int, typer.Option(min=1, help="Cells that run at the same time on this machine.")] = 1,
        ray: Annotated[
            str | None,
            typer.Option(help="Run on a Ray cluster: its address, or local. All its machines must see DATA and OUT."),
        ] = None,
        threads: Annotated[int, typer.Option(min=1, help="CPU threads of each cell.")] = 1,
        accelerator: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
        train_split: Annotated[str | None, typer.Option(help="Split to train on (train).")] = None,
        val_split: Annotated[str | None, typer.Option(help="Split to evaluate on (val).")] = None,
        samples: Annotated[int, typer.Option(min=100, help="Bootstrap samples of the report.")] = 1000,
        report_only: Annotated[
            bool, typer.Option("--report-only", help="Train nothing; write the report of the complete cells.")
        ] = False,
    ) -> None:
        """Train one cell for each variant, seed and budget of a plan, and compare the variants with the base.

        Run the same command again to resume: complete cells are kept, other cells continue from where they were saved.
        Ctrl-C saves all running cells. A report of the complete cells is written at the end, also when interrupted.

        Example: fusion-mamba analyze ablation config/analyze/first_answer.yaml --data DATA --out runs/first_answer
        """
        try:
            from fusion_mamba_ros.analysis.grid import Grid, GridSettings
            from fusion_mamba_ros.analysis.grid_plan import GridPlan
            from fusion_mamba_ros.commands.output_folder import make_output_folder
            from fusion_mamba_ros.perception.threads import set_threads
            from fusion_mamba_ros.training.recipe import TrainingError
            from fusion_mamba_ros.training.training_data import SplitChoice, open_training_data
        except ModuleNotFoundError as error:
            typer.echo(f"error: an ablation needs {error.name}: pip install .[train]", err=True)
            raise typer.Exit(2) from error
        set_threads(threads)
        try:
            if ray is not None and jobs != 1:
                raise TrainingError("--ray decides itself how many cells run at a time: leave out --jobs")
            splits = SplitChoice(train_split, val_split)
            plan = GridPlan.read(config)
            open_training_data(data, splits, None)
            make_output_folder(out)
            grid = Grid(plan, GridSettings(data, out, splits, threads, accelerator))
            stop = threading.Event()
            failed: list[str] = []
            if not report_only:
                failed = _run(grid, jobs, ray, stop)
            written = _write_report(grid, out, samples)
        except (ValueError, OSError, ImportError) as error:
            fail(error)
        typer.echo(f"written: {written}" if written else "no cell is complete yet: no report")
        for sentence in failed:
            typer.echo(f"error: {sentence}", err=True)
        if stop.is_set():
            typer.echo("interrupted: run the same command again to continue")
            raise typer.Exit(130)
        raise typer.Exit(1 if failed else 0)


def _run(grid: Any, jobs: int, ray: str | None, stop: threading.Event) -> list[str]:
    from fusion_mamba_ros.analysis.grid_workers import run_locally, run_on_ray

    def run_jobs(waiting: list[Any], on_done: Any) -> None:
        if ray is None:
            run_locally(waiting, jobs, stop, on_done)
        elif waiting:
            run_on_ray(waiting, ray, stop, on_done)

    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        failed: list[str] = grid.run(run_jobs, stop, lambda text: typer.echo(text))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return failed


def _write_report(grid: Any, out: Path, samples: int) -> Path | None:
    import json

    from fusion_mamba_ros.analysis.grid_report import write_grid_report
    from fusion_mamba_ros.analysis.grid_results import summarise

    if "time" in grid.plan.budgets and not (out / "step_seconds.json").exists():
        return None
    epochs = grid.epochs()
    cells = grid.cells(epochs)
    summaries = summarise(grid, epochs, samples)
    if not summaries:
        return None
    spent = [json.loads(path.read_text()) for path in sorted(out.glob("*/*/cpu_seconds.json"))]
    facts = {
        "cells": f"{sum(cell.done for cell in cells)} of {len(cells)} complete",
        "data": grid.settings.data.name,
        "core_hours": round(sum(spent) / 3600, 2),
    }
    return write_grid_report(grid.plan, summaries, out, facts)
