# SPDX-License-Identifier: Apache-2.0
"""A distillation run: images and a teacher in, a folder with start weights out."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from fusion_mamba_ros.datasets.unlabelled_images import read_unlabelled_images
from fusion_mamba_ros.network import FusionMambaDetector
from fusion_mamba_ros.perception.atomic_write import write_atomically
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from fusion_mamba_ros.training.distillation import Distillation, DistillationSettings, DistillationState
from fusion_mamba_ros.training.interruption import Interruption
from fusion_mamba_ros.training.recipe import Recipe, TrainingError


@dataclass(frozen=True)
class DistillationRun:
    """Settings of one distillation run.

    ``teacher``: checkpoint written by `import-weights`. ``images``: image list. ``out``: folder of the run.
    """

    recipe: Recipe
    settings: DistillationSettings
    teacher: Path
    images: Path
    out: Path


def distill(run: DistillationRun, console: Console) -> bool:
    """Run a distillation and return True if it is complete, or False if it was interrupted and can be resumed.

    Raises ``ValueError`` with a one-sentence message if the distillation cannot start.
    """
    if (run.out / "state.pt").exists():
        raise TrainingError(f"'{run.out}' already holds a run: continue it with --resume or choose another --out")
    inputs = {"teacher": str(run.teacher.absolute()), "images": str(run.images.absolute())}
    state = DistillationState(dataclasses.asdict(run.settings), run.recipe.to_dict(), inputs)
    return _run(state, run.out, console)


def resume_distillation(out: Path, console: Console) -> bool:
    """Resume the distillation in the folder ``out``; the return value is that of `distill`."""
    return _run(DistillationState.load(out / "state.pt"), out, console)


def _run(state: DistillationState, out: Path, console: Console) -> bool:
    recipe = Recipe.from_dict(state.recipe)
    values = {**state.settings, "input_size": tuple(state.settings["input_size"])}
    settings = DistillationSettings(**values)
    teacher, _ = load_checkpoint(state.inputs["teacher"])
    torch.manual_seed(settings.seed)
    student = FusionMambaDetector(recipe.model)
    images = read_unlabelled_images(
        Path(state.inputs["images"]),
        tuple(recipe.model.modalities),
        longest_side=3 * max(settings.input_size),
        scaling=recipe.thermal,
        on_source=lambda name, path, count: console.print(f"{name}: {count} images of {path}", highlight=False),
    )
    distillation = Distillation(teacher, student, images, settings, state)
    metadata = CheckpointMetadata(
        tuple(f"class_{index}" for index in range(recipe.model.classes)),
        settings.input_size,
        recipe.thermal,
        training={
            "distilled_from": Path(state.inputs["teacher"]).name,
            "teacher": teacher.config.to_dict(),
            "images": {name: len(found) for name, found in images.items()},
            "settings": state.settings,
        },
    )

    def save() -> None:
        state.save(out / "state.pt")
        save_checkpoint(out / "start.safetensors", student, metadata)
        write_atomically(out / "losses.csv", _table(state.history).encode())

    with Interruption() as interruption:
        complete = distillation.run(
            save, lambda row: _report(console, row, settings, len(images)), lambda: interruption.requested
        )
    if complete:
        console.print(f"start weights: {out / 'start.safetensors'}", highlight=False)
    else:
        console.print(
            f"stopped after step {state.step}; resume with: fusion-mamba distill --out {out} --resume", highlight=False
        )
    return complete


def _report(console: Console, row: dict[str, float], settings: DistillationSettings, streams: int) -> None:
    losses = " ".join(f"{name} {value:.3f}" for name, value in row.items() if name not in ("step", "images_per_second"))
    speed = row["images_per_second"]
    left = (settings.steps - row["step"]) * settings.batch_size * streams / max(speed, 1e-9) / 60
    console.print(
        f"step {row['step']:.0f} of {settings.steps}: {losses}; {speed:.1f} images/s, {left:.0f} min left",
        highlight=False,
        soft_wrap=True,
    )


def _table(history: Sequence[dict[str, float]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(history[0]) if history else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in history)
    return text.getvalue()
