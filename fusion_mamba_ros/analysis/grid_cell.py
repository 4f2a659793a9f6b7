# SPDX-License-Identifier: Apache-2.0
"""One training run of a grid, in a process of its own: train or resume, evaluate the last weights, write the result.

    python -m fusion_mamba_ros.analysis.grid_cell JOB.json

The process saves and ends when it gets SIGTERM, and when its standard input is closed. The latter happens when its
parent process dies, for whatever reason.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_fabric import seed_everything
from rich.console import Console

from fusion_mamba_ros.evaluation.evaluate import PROTOCOL, evaluate
from fusion_mamba_ros.network import FusionMambaDetector
from fusion_mamba_ros.network.detector import count_parameters
from fusion_mamba_ros.perception.atomic_write import write_atomically
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata, read_metadata, save_checkpoint
from fusion_mamba_ros.perception.predictor import Predictor
from fusion_mamba_ros.perception.threads import set_threads
from fusion_mamba_ros.training.recipe import Recipe
from fusion_mamba_ros.training.run_folder import RunFolder
from fusion_mamba_ros.training.train import Run, train
from fusion_mamba_ros.training.training_data import SplitChoice, open_training_data
from fusion_mamba_ros.training.training_state import TrainingState

INTERRUPTED = 130
RESULT = "result.json"


@dataclass(frozen=True)
class CellJob:
    """The job of one process.

    ``kind``: `train` trains; `initial` only stores the random weights of the recipe's model. ``weights``: checkpoint
    to start from. ``evaluated``: whether the last weights are evaluated in each mode. ``facts``: values that identify
    the cell; they are copied to its result.
    """

    kind: str
    recipe: dict[str, Any]
    data: str
    splits: dict[str, Any]
    out: str
    facts: dict[str, Any]
    weights: str | None = None
    evaluated: bool = True
    threads: int = 1
    accelerator: str = "auto"

    def write(self) -> Path:
        """Write the job to its folder and return the path of the file."""
        path = Path(self.out) / "job.json"
        write_atomically(path, f"{json.dumps(vars(self), indent=1)}\n".encode())
        return path

    @classmethod
    def read(cls, path: Path) -> CellJob:
        """Return the job in a file that ``write`` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    @property
    def done(self) -> bool:
        """Whether the result is there."""
        return (Path(self.out) / RESULT).exists()


def run_cell(job: CellJob) -> bool:
    """Do the job and write `result.json`; return False if the training was interrupted and can be resumed.

    Raises ``ValueError`` or ``OSError`` with a one-sentence message.
    """
    set_threads(job.threads)
    folder, splits = RunFolder(job.out), SplitChoice(**job.splits)
    recipe = Recipe.from_dict(job.recipe)
    console = Console(markup=False, highlight=False)
    started = time.process_time()
    if job.kind == "initial":
        _store_random_weights(recipe, Path(job.data), splits, folder)
        write_atomically(folder.path / RESULT, f"{json.dumps(job.facts)}\n".encode())
        return True
    resume = folder.state.exists()
    run = Run(
        recipe,
        Path(job.data),
        folder.path,
        SplitChoice() if resume else splits,
        resume=resume,
        weights=None if resume or job.weights is None else Path(job.weights),
        accelerator=job.accelerator,
    )
    complete = train(run, console)
    _add_cpu_seconds(folder.path, time.process_time() - started)
    if not complete:
        return False
    _write_result(job, folder, splits)
    # The state has four times the size of the weights, and nothing is left to resume.
    for path in (folder.state, folder.best):
        path.unlink(missing_ok=True)
    return True


def _store_random_weights(recipe: Recipe, data: Path, splits: SplitChoice, folder: RunFolder) -> None:
    opened = open_training_data(data, splits, None)
    recipe = recipe.for_data(opened.training.class_names)
    seed_everything(recipe.seed, verbose=False)
    metadata = CheckpointMetadata(opened.training.class_names, recipe.input_size, recipe.thermal)
    folder.path.mkdir(parents=True, exist_ok=True)
    save_checkpoint(folder.last, FusionMambaDetector(recipe.model).eval(), metadata)


def _add_cpu_seconds(folder: Path, seconds: float) -> None:
    """Add to the CPU time of all processes that have worked on the cell, except those that were killed."""
    path = folder / "cpu_seconds.json"
    before = json.loads(path.read_text()) if path.exists() else 0.0
    write_atomically(path, json.dumps(before + seconds).encode())


def _write_result(job: CellJob, folder: RunFolder, splits: SplitChoice) -> None:
    state = TrainingState.load(folder.state)
    result: dict[str, Any] = {
        **job.facts,
        "train_seconds": sum(row["epoch_seconds"] for row in state.history),
        "cpu_seconds": json.loads((folder.path / "cpu_seconds.json").read_text()),
        "history": state.history,
    }
    if job.evaluated:
        predictor = Predictor.from_checkpoint(folder.last, precision="fp32", thresholds=PROTOCOL)
        validating = open_training_data(Path(job.data), splits, None).validating
        evaluation = evaluate(predictor.predict_batch, validating, predictor.modes, modalities=predictor.modalities)
        for mode, item in evaluation.modes.items():
            item.results.save(folder.path / f"detections_{mode.value}.npz")
        result["metrics"] = evaluation.to_dict()
        result["parameters"] = count_parameters(FusionMambaDetector(read_metadata(folder.last)[0]))
    write_atomically(folder.path / RESULT, f"{json.dumps(result, indent=1)}\n".encode())


def _end_with_the_parent() -> None:
    """Send this process SIGTERM when its standard input ends."""

    def watch() -> None:
        # Not `sys.stdin`: its lock would be held when the interpreter shuts down, which is a fatal error.
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def main() -> int:
    """Do the job in the file that the first argument names; return the exit code."""
    _end_with_the_parent()
    job = CellJob.read(Path(sys.argv[1]))
    # An earlier process that lost its parent may still be saving.
    with (Path(job.out) / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if job.done:
            return 0
        try:
            return 0 if run_cell(job) else INTERRUPTED
        except (ValueError, OSError, ImportError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2


if __name__ == "__main__":
    raise SystemExit(main())
