# SPDX-License-Identifier: Apache-2.0
"""The folder with the files of a training run."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import yaml

from fusion_mamba_ros.perception.atomic_write import write_atomically
from fusion_mamba_ros.training.recipe import Recipe, TrainingError


class RunFolder:
    """Paths of the files of one run.

    - `recipe.yaml`: the resolved recipe
    - `state.pt`: the state to resume from
    - `last.safetensors`, `best.safetensors`: the averaged weights of the last and of the best epoch
    - `results.csv`: one row per epoch
    - `curves.png`: the same figures as curves
    - `samples/`: validation pairs with their detections
    - `events/`: TensorBoard event files
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.recipe = self.path / "recipe.yaml"
        self.state = self.path / "state.pt"
        self.last = self.path / "last.safetensors"
        self.best = self.path / "best.safetensors"
        self.results = self.path / "results.csv"
        self.curves = self.path / "curves.png"
        self.samples = self.path / "samples"
        self.events = self.path / "events"

    def start(self, recipe: Recipe) -> None:
        """Create the folder and write the recipe.

        Raises `TrainingError` if the folder already holds a run.
        """
        if self.state.exists() or self.results.exists():
            raise TrainingError(f"'{self.path}' already holds a run: continue it with --resume or choose another --out")
        self.write(self.recipe, yaml.safe_dump(recipe.to_dict(), sort_keys=False).encode())

    def write_results(self, history: Sequence[dict[str, float]]) -> None:
        """Write `results.csv` with one row per epoch; values that an epoch lacks stay empty."""
        # The row of the start weights (epoch 0) has no training losses, so later rows set the order of the columns.
        ordered = sorted(history, key=lambda row: row["epoch"] == 0)
        columns = list(dict.fromkeys(name for row in ordered for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _number(value) for name, value in row.items()} for row in history)
        self.write(self.results, text.getvalue().encode())

    def write(self, path: Path, data: bytes) -> None:
        """Write a file of the run atomically.

        Raises `TrainingError` with the name of the file if it cannot be written.
        """
        try:
            write_atomically(path, data)
        except OSError as error:
            remedy = "and continue with --resume" if self.state.exists() else "or choose another --out"
            sentence = f"'{path}' could not be written ({error.strerror}): free disk space {remedy}"
            raise TrainingError(sentence) from error


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"
