# SPDX-License-Identifier: Apache-2.0
"""Measure the time of a training step of each variant, so that variants can be trained for equal times."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from lightning_fabric import Fabric, seed_everything

from fusion_mamba_ros.datasets import PreparedDataset
from fusion_mamba_ros.network import FusionMambaDetector
from fusion_mamba_ros.training.recipe import PRECISIONS, Recipe
from fusion_mamba_ros.training.trainer import Events, Trainer
from fusion_mamba_ros.training.training_data import SplitChoice, open_training_data

_STEPS, _PASSES = 3, 2


def step_seconds(
    recipes: Mapping[str, Recipe],
    data: Path,
    splits: SplitChoice,
    accelerator: str = "auto",
    on_progress: Callable[[str], None] = lambda name: None,
) -> dict[str, float]:
    """Return the median time of an optimizer step of each recipe, with the preparation of its batches.

    On a CPU it is the CPU time of the process, which other work on the machine changes least; elsewhere it is the
    elapsed time. The recipes are measured one after the other, in two passes, after one step that is not counted.
    """
    opened = open_training_data(data, splits, None)
    seconds: dict[str, list[float]] = {name: [] for name in recipes}
    for _ in range(_PASSES):
        for name, recipe in recipes.items():
            # The measured steps may take several epochs of a small dataset.
            recipe = dataclasses.replace(recipe.for_data(opened.training.class_names), workers=0, epochs=1000)
            fabric = Fabric(accelerator=accelerator, devices=1, precision=PRECISIONS[recipe.precision])  # type: ignore[arg-type]
            fabric.launch()
            seed_everything(recipe.seed, verbose=False)
            dataset = PreparedDataset(opened.training, recipe.input_size, scaling=recipe.thermal)
            trainer = Trainer(recipe, FusionMambaDetector(recipe.model), dataset, fabric)
            seconds[name] += _time_steps(trainer, time.process_time if fabric.device.type == "cpu" else time.monotonic)
            on_progress(name)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _time_steps(trainer: Trainer, clock: Callable[[], float]) -> list[float]:
    """Return the times of optimizer steps, without the first one and without the ends of epochs."""
    events = Events(lambda *_: {"fitness": 0.0}, lambda _: None, stop=lambda: True)
    times: list[float] = []
    while len(times) <= _STEPS:
        before, start = trainer.state.batch, clock()
        # The trainer stops after each optimizer step.
        trainer.run(events)
        if trainer.state.batch > before:
            times.append(clock() - start)
    return times[1:]


def epochs_of_equal_time(epochs: int, seconds: Mapping[str, float], reference: str) -> dict[str, int]:
    """Return for each variant the epochs that take about the time of ``epochs`` of the reference, at least one."""
    return {name: max(1, round(epochs * seconds[reference] / value)) for name, value in seconds.items()}
