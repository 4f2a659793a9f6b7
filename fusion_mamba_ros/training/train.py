# SPDX-License-Identifier: Apache-2.0
"""A training run: a recipe and data in, a folder with weights, figures and images out."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric, seed_everything
from rich.console import Console
from rich.progress import track

from fusion_mamba_ros import __version__
from fusion_mamba_ros.datasets import PreparedDataset
from fusion_mamba_ros.datasets.prepared_dataset import DEFAULT_HEADROOM
from fusion_mamba_ros.evaluation.detection_metrics import require_packages
from fusion_mamba_ros.network import FusionMambaDetector
from fusion_mamba_ros.network.detector import count_parameters
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata, save_checkpoint
from fusion_mamba_ros.perception.compute import choose_device
from fusion_mamba_ros.perception.modality import known_modalities
from fusion_mamba_ros.perception.registration import Homography
from fusion_mamba_ros.perception.tiling import Tiling
from fusion_mamba_ros.training.curves import draw_curves
from fusion_mamba_ros.training.interruption import Interruption
from fusion_mamba_ros.training.logger import Logger
from fusion_mamba_ros.training.recipe import PRECISIONS, Recipe, TrainingError
from fusion_mamba_ros.training.run_folder import RunFolder
from fusion_mamba_ros.training.source_summary import describe_sources
from fusion_mamba_ros.training.start_weights import load_start_weights
from fusion_mamba_ros.training.trainer import Events, Trainer, detection_loss
from fusion_mamba_ros.training.training_data import SplitChoice, TrainingData, open_training_data
from fusion_mamba_ros.training.training_state import TrainingState
from fusion_mamba_ros.training.usable_pairs import usable_pairs
from fusion_mamba_ros.training.validation import Validation

_CURVES_PERIOD_SEC = 30.0  # to draw them takes as long as a small epoch


@dataclass(frozen=True)
class Run:
    """Settings of one training run.

    ``data``: dataset folder or YAML file. ``splits``: the splits to use. ``out``: folder of the run.
    ``resume``: whether to resume the run in that folder. ``weights``: checkpoint with the start weights.
    ``accelerator``: `auto`, `cpu` or `cuda`.
    With `torchrun`, every process calls `train` with the same values.
    """

    recipe: Recipe
    data: Path
    out: Path
    splits: SplitChoice = field(default_factory=SplitChoice)
    resume: bool = False
    weights: Path | None = None
    accelerator: str = "auto"


def train(run: Run, console: Console) -> bool:
    """Train and return True if the run is complete, or False if it was interrupted and can be resumed.

    Raises `TrainingError`, `DatasetError` or `CheckpointError` (all are ``ValueError``), or ``ImportError``. Each
    message is one sentence.
    """
    require_packages()
    folder = RunFolder(run.out)
    state = TrainingState.load(folder.state) if run.resume else None
    data = open_training_data(run.data, run.splits, state)
    fingerprint = data.fingerprint
    recipe = _recipe(run, state, data.training.class_names)
    choose_device(run.accelerator)
    fabric = _fabric(run, recipe)
    fabric.launch()
    if not fabric.is_global_zero:
        console = Console(quiet=True)
    modalities = tuple(recipe.model.modalities)
    training = usable_pairs(data.training, modalities, data.splits["train"], console)
    validating = usable_pairs(data.validating, modalities, data.splits["val"], console)
    data = replace(data, training=training, validating=validating)
    seed_everything(recipe.seed, verbose=False)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Crops at the resolution of the images need images of their original size. The others are shrunk once.
    headroom = None if recipe.augmentation.native_crop_probability else DEFAULT_HEADROOM
    train_set = PreparedDataset(training, recipe.input_size, scaling=recipe.thermal, headroom=headroom)
    # Validation images keep their original size, so that the figures are those of the finished checkpoint.
    val_set = PreparedDataset(validating, recipe.input_size, scaling=recipe.thermal, headroom=None)
    model = _model(run, recipe, state, console)
    if fabric.is_global_zero:
        if state is None:
            folder.start(recipe)
        _describe(console, recipe, model, data, fabric)
    unreadable = _preload(train_set, console)
    trainer = Trainer(recipe, model, train_set, fabric, state)
    trainer.state.splits, trainer.state.validation = data.splits, fingerprint
    trainer.state.val_fraction = data.val_fraction
    if run.weights is not None:
        trainer.state.weights = run.weights.name
    homographies = {name: _rows(matrix) for name, matrix in training.homographies.items()}
    metadata = CheckpointMetadata(
        training.class_names,
        recipe.input_size,
        recipe.thermal,
        homography=homographies.pop("thermal", _rows(np.eye(3))),
        further_homographies=homographies,
        training=_provenance(run, trainer.state, recipe, data),
    )
    validation = Validation(
        val_set,
        metadata,
        detection_loss(recipe),
        device=fabric.device,
        batch_size=recipe.batch_size,
        drawn=recipe.sample_predictions,
        tiling=Tiling.parse(recipe.tiles),
        native_crop_probability=recipe.augmentation.native_crop_probability,
    )
    with contextlib.ExitStack() as stack:
        interruption = stack.enter_context(Interruption())
        if not fabric.is_global_zero:
            return trainer.run(Events(lambda *_: {}, lambda _: None))
        logger = stack.enter_context(Logger(console, folder.events, recipe.epochs, trainer.state.epoch))

        def validate(epoch: int, averaged: FusionMambaDetector) -> dict[str, float]:
            row = validation.measure(averaged)
            for name, reason in validation.skipped.items():
                console.print(f"{name} is left out of the validation: {reason}", highlight=False)
            image = validation.draw(averaged)
            if image is not None:
                folder.write(folder.samples / f"epoch_{epoch + 1:04d}.jpg", image)
            return row

        drawn_sec = time.monotonic()

        def on_epoch(current: TrainingState, is_best: bool) -> None:
            nonlocal drawn_sec
            weights = trainer.average.model
            save_checkpoint(folder.last, weights, validation.finished_metadata())
            if is_best:
                save_checkpoint(folder.best, weights, validation.finished_metadata())
            folder.write_results(current.history)
            if time.monotonic() - drawn_sec >= _CURVES_PERIOD_SEC:
                folder.write(folder.curves, draw_curves(current.history))
                drawn_sec = time.monotonic()
            logger.epoch_done(current.history, is_best)

        def save(current: TrainingState) -> None:
            current.save(folder.state)

        events = Events(validate, save, logger.batch, on_epoch, stop=lambda: interruption.requested)
        complete = trainer.run(events)
        if trainer.state.history:
            folder.write(folder.curves, draw_curves(trainer.state.history))
    _report_end(console, run, folder, trainer.state, unreadable, complete)
    return complete


def _rows(matrix: Homography) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, matrix.tolist()))


def _recipe(run: Run, state: TrainingState | None, class_names: tuple[str, ...]) -> Recipe:
    recipe = run.recipe if state is None else Recipe.from_dict(state.recipe)
    unknown = set(recipe.model.modalities) - set(known_modalities())
    if unknown:
        raise TrainingError(
            f"the recipe's model wants {', '.join(sorted(unknown))}: registered are {', '.join(known_modalities())}"
        )
    for name, channels in recipe.model.modalities.items():
        if channels not in (1, 3):
            raise TrainingError(f"the recipe's model wants {channels} channels of {name}: images have 1 or 3")
    return recipe.for_data(class_names)


def _fabric(run: Run, recipe: Recipe) -> Fabric:
    # Each device has one process; torchrun sets the number of processes.
    local, world = (int(os.environ.get(name, "1")) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    return Fabric(
        accelerator=run.accelerator,
        devices=local,
        num_nodes=world // local,
        strategy="ddp" if world > 1 else "auto",
        precision=PRECISIONS[recipe.precision],  # type: ignore[arg-type]
    )


def _model(run: Run, recipe: Recipe, state: TrainingState | None, console: Console) -> FusionMambaDetector:
    model = FusionMambaDetector(recipe.model)
    if run.weights is not None and state is None:
        loaded, differences = load_start_weights(model, run.weights, recipe)
        console.print(loaded, highlight=False, soft_wrap=True)
        _warn(console, differences)
    return model


def _preload(dataset: PreparedDataset, console: Console) -> dict[str, str]:
    ticks = iter(track(range(len(dataset)), "reading pairs", console=console, transient=True))
    unreadable = dataset.preload(lambda _: _advance(ticks))
    _advance(ticks)
    for name, reason in unreadable.items():
        console.print(f"{name} is left out: {reason}", highlight=False)
    if len(unreadable) == len(dataset):
        raise TrainingError(f"none of the {len(dataset)} training pairs can be read: run fusion-mamba check-data")
    return unreadable


def _advance(ticks: Iterator[int]) -> None:
    next(ticks, None)


def _describe(
    console: Console,
    recipe: Recipe,
    model: FusionMambaDetector,
    data: TrainingData,
    fabric: Fabric,
) -> None:
    modalities = " + ".join(recipe.model.modalities)
    console.print(
        f"{recipe.model.backbone} {recipe.model.scale}, {modalities}, {recipe.model.fusion}, "
        f"{count_parameters(model) / 1e6:.2f} M parameters; {len(data.training)} pairs to train, "
        f"{len(data.validating)} to validate; {recipe.epochs} epochs in batches of {recipe.batch_size} "
        f"at {recipe.input_size[0]}x{recipe.input_size[1]}, {recipe.precision}; "
        f"{fabric.world_size} x {fabric.device.type}",
        highlight=False,
        soft_wrap=True,
    )
    for sentence in describe_sources(data.training, recipe.seed):
        console.print(f"  {sentence}", highlight=False, soft_wrap=True)
    plain = recipe.epochs - recipe.mosaic_epochs
    if plain < recipe.close_mosaic_epochs and recipe.augmentation.mosaic_probability:
        console.print(
            f"close_mosaic_epochs {recipe.close_mosaic_epochs} is more than a quarter of {recipe.epochs} epochs: "
            f"mosaic is left out of the last {plain}",
            highlight=False,
            soft_wrap=True,
        )
    _warn(console, data.warnings())


def _warn(console: Console, sentences: Sequence[str]) -> None:
    for sentence in sentences:
        console.print(f"warning: {sentence}", style="yellow", highlight=False, soft_wrap=True)


def _provenance(run: Run, state: TrainingState, recipe: Recipe, data: TrainingData) -> dict[str, Any]:
    return {
        "data": run.data.name,
        "started_from": state.weights or "random weights",
        **data.provenance(),
        "version": __version__,
        "commit": _commit(),
        "torch": torch.__version__,
        "recipe": recipe.to_dict(),
    }


def _commit() -> str:
    root = Path(__file__).parents[2]
    # An installed package has no repository. A repository in a folder further up is a different project.
    if not (root / ".git").exists():
        return "unknown"
    command = ["git", "-C", str(root), "rev-parse", "--short", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return found or "unknown"


def _report_end(
    console: Console,
    run: Run,
    folder: RunFolder,
    state: TrainingState,
    unreadable: dict[str, str],
    complete: bool,
) -> None:
    for name, reason in unreadable.items():
        console.print(f"{name} could not be read ({reason}); other pairs took its place", highlight=False)
    if not complete:
        console.print(
            f"stopped in epoch {state.epoch + 1}, nothing is lost; continue with: "
            f"fusion-mamba train --data {run.data} --out {run.out} --resume",
            highlight=False,
            soft_wrap=True,
        )
        return
    epoch = f"epoch {state.best_epoch + 1}" if state.best_epoch >= 0 else "the start weights"
    best = f"{epoch}, fitness {state.best_fitness:.3f}"
    console.print(
        f"best: {folder.best} ({best}); last: {folder.last}; curves: {folder.curves}", highlight=False, soft_wrap=True
    )
