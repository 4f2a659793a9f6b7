# SPDX-License-Identifier: Apache-2.0
"""The training loop."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from fusion_mamba_ros.datasets import Augmentation, PreparedDataset
from fusion_mamba_ros.network import FusionMambaDetector
from fusion_mamba_ros.training.absent_streams import statistics_kept
from fusion_mamba_ros.training.assigner import TaskAlignedAssigner
from fusion_mamba_ros.training.batches import Batch, EpochBatches, load
from fusion_mamba_ros.training.ema import MovingAverage
from fusion_mamba_ros.training.epoch_selection import EpochSelection
from fusion_mamba_ros.training.loss import DetectionLoss, LossTerms
from fusion_mamba_ros.training.optimizer import build_optimizer
from fusion_mamba_ros.training.recipe import Recipe, TrainingError
from fusion_mamba_ros.training.schedule import Schedule
from fusion_mamba_ros.training.training_state import TrainingState, fingerprint

TERMS = ("box", "distribution", "classes")


@dataclass(frozen=True)
class Events:
    """Callbacks of the training loop; they are called in process 0 only.

    ``on_batch(epoch, done, of, losses)``: called after each batch; ``losses`` are the means of the epoch so far.
    ``validate(epoch, averaged model)``: returns the metrics; a larger `fitness` is better. ``epoch`` counts from 0; -1
    stands for the start weights.
    ``on_epoch(state, is_best)``: called when an epoch is complete.
    ``save(state)``: called whenever the state should be written to disk.
    ``stop()``: called after each optimizer step and each epoch; True stops the training.
    """

    validate: Callable[[int, FusionMambaDetector], dict[str, float]]
    save: Callable[[TrainingState], None]
    on_batch: Callable[[int, int, int, dict[str, float]], None] = lambda *_: None
    on_epoch: Callable[[TrainingState, bool], None] = lambda *_: None
    stop: Callable[[], bool] = lambda: False


class Trainer:
    """Train one detector; between two optimizer steps, a `TrainingState` holds the complete state of the run.

    ``fabric``: must be launched already. ``dataset``: the training pairs. ``state``: state of the run to resume.
    Raises `TrainingError` if the data differ from those of the resumed run or do not fit the number of processes.
    """

    def __init__(
        self,
        recipe: Recipe,
        model: FusionMambaDetector,
        dataset: PreparedDataset,
        fabric: Fabric,
        state: TrainingState | None = None,
    ):
        if recipe.batch_size % fabric.world_size:
            raise TrainingError(
                f"batch_size {recipe.batch_size} cannot be divided among {fabric.world_size} processes: "
                "choose a multiple of their number"
            )
        self.recipe, self.dataset, self.fabric = recipe, dataset, fabric
        self.selection = EpochSelection.of(dataset.sources, recipe.seed)
        data = fingerprint(dataset.names, dataset.class_names, {} if self.selection is None else self.selection.ratios)
        self.state = state or TrainingState(recipe.to_dict(), data)
        if self.state.data != data:
            raise TrainingError(
                f"the run was started with {self.state.data}, the data now are {data}: give the same data"
            )
        self.detector = model
        if recipe.channels_last:
            # mypy does not know this overload of `to`.
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if recipe.freeze_batch_norm:
            freeze_batch_norm(model)
        decay = recipe.weight_decay * recipe.batch_size * recipe.accumulation / recipe.nominal_batch_size
        optimizer = build_optimizer(model, recipe.optimizer, recipe.learning_rate, recipe.momentum, decay)
        self.network, self.optimizer = fabric.setup(model, optimizer)
        self.average = MovingAverage(model, recipe.ema_decay, recipe.ema_ramp)
        if state is not None:
            # Load the state after the setup, so that the optimizer state is moved to the device of the weights.
            model.load_state_dict(state.model)
            optimizer.load_state_dict(dict(state.optimizer))
            fabric.strategy.precision.load_state_dict(dict(state.scaler))
            self.average.model.load_state_dict(state.average)
            self.average.updates = state.average_updates
        self.augmentation = Augmentation(recipe.augmentation, modalities=recipe.model.modalities)
        plain = dataclasses.replace(recipe.augmentation, mosaic_probability=0.0)
        self.plain_augmentation = Augmentation(plain, modalities=recipe.model.modalities)
        self.loss = detection_loss(recipe)
        self.batches = len(self._epoch_batches(0))
        if self.batches == 0:
            raise TrainingError(f"{len(dataset)} pairs are too few for {fabric.world_size} processes")
        self.schedule = Schedule(
            recipe.schedule,
            recipe.epochs * self.batches,
            round(recipe.warmup_epochs * self.batches),
            recipe.learning_rate,
            recipe.final_fraction,
            recipe.momentum,
            recipe.warmup_momentum,
            recipe.warmup_bias_rate,
        )
        self._counted = time.monotonic()

    def run(self, events: Events) -> bool:
        """Train to the end and return True, or save the state and return False if ``events.stop`` asks to stop."""
        state, recipe = self.state, self.recipe
        saved = self._counted = time.monotonic()
        if not state.model:
            # Save the state before any other file is written, so that an incomplete run can always be resumed.
            self._save(events)
        if state.weights and not state.history and not state.batch:
            self._finish_row({"epoch": 0}, events, validated=True)
        while state.epoch < recipe.epochs and not self._out_of_patience():
            self._set_train_mode()
            loader = load(self._epoch_batches(state.epoch), first=state.batch, workers=recipe.workers)
            for batch in loader:
                stepped = self._train(batch)
                if self.fabric.is_global_zero:
                    means = {name: state.sums[name] / state.batch for name in TERMS}
                    events.on_batch(state.epoch, state.batch, self.batches, means)
                if not stepped:
                    continue
                stop = self._stop_asked(events)
                due = time.monotonic() - saved >= 60 * recipe.save_every_minutes
                if stop or (due and state.batch < self.batches):
                    saved = time.monotonic()
                    self._save(events)
                if stop:
                    return False
            self._finish_epoch(events)
            saved = time.monotonic()
            if state.epoch < recipe.epochs and self._stop_asked(events):
                return False
        return True

    def _stop_asked(self, events: Events) -> bool:
        # Process 0 decides whether to stop, because all processes must stop at the same step.
        return bool(self.fabric.broadcast(self.fabric.is_global_zero and events.stop()))

    def _train(self, batch: Batch) -> bool:
        """Train on one batch and return True if an optimizer step followed."""
        state, recipe = self.state, self.recipe
        last = (state.batch + 1) % recipe.accumulation == 0 or state.batch + 1 == self.batches
        pairs = len(batch) * self.fabric.world_size
        with self.fabric.no_backward_sync(self.network, enabled=not last):
            terms = self._losses(batch)
            # Processes average their gradients, but YOLO's learning rates are for the sum over all pairs.
            self.fabric.backward(terms.total * (pairs * self.fabric.world_size))
        losses = torch.stack([getattr(terms, name).detach() for name in TERMS])
        values = self._sum_over_processes(losses).tolist()
        if not all(math.isfinite(value) for value in values):
            raise TrainingError(
                f"the loss is {sum(values)} in epoch {state.epoch + 1}: lower learning_rate, "
                "or use precision fp32 or bf16"
            )
        for name, value in zip(TERMS, values, strict=True):
            state.sums[name] = state.sums.get(name, 0.0) + value
        if last:
            self.schedule.apply(self.optimizer, state.epoch * self.batches + state.batch)
            self._clip_gradients()
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.average.update(self.detector)
        state.batch += 1
        return last

    def _clip_gradients(self) -> None:
        norm = self.fabric.clip_gradients(
            self.network, self.optimizer, max_norm=self.recipe.clip_norm, error_if_nonfinite=False
        )
        assert norm is not None  # clipping by norm returns the norm
        # With fp16, gradients overflow now and then: the loss scaler then skips the step and lowers its scale.
        if self.recipe.precision != "fp16" and not math.isfinite(norm):
            raise TrainingError(f"the gradient is {float(norm)} in epoch {self.state.epoch + 1}: lower learning_rate")

    def _losses(self, batch: Batch) -> LossTerms:
        images = batch.inputs(self.fabric.device, channels_last=self.recipe.channels_last)
        targets = batch.targets.to(self.fabric.device)
        with statistics_kept(self.detector, batch.absent):
            levels = self.network(images)
        return self.loss(self.detector.head, levels, targets, self._sum_over_processes)

    def _sum_over_processes(self, value: Tensor) -> Tensor:
        if self.fabric.world_size == 1:
            return value
        total = self.fabric.all_reduce(value, reduce_op="sum")
        assert isinstance(total, Tensor)  # `all_reduce` returns the type of its argument
        return total

    def _finish_epoch(self, events: Events) -> None:
        state, recipe = self.state, self.recipe
        row: dict[str, float] = {"epoch": state.epoch + 1}
        row |= {f"train_{name}": state.sums[name] / self.batches for name in TERMS}
        row["learning_rate"] = self.schedule.rate((state.epoch + 1) * self.batches - 1)
        state.epoch, state.batch, state.sums = state.epoch + 1, 0, {}
        validated = state.epoch % recipe.validate_every == 0 or state.epoch == recipe.epochs
        self._finish_row(row, events, validated=validated)

    def _finish_row(self, row: dict[str, float], events: Events, *, validated: bool) -> None:
        """Complete the row of the epoch that was just finished (0: the start weights), report it and save the state."""
        state, is_best = self.state, False
        index = state.epoch - 1
        if validated:
            metrics = events.validate(index, self.average.model) if self.fabric.is_global_zero else {}
            metrics = self.fabric.broadcast(metrics)
            row |= metrics
            is_best = metrics["fitness"] > state.best_fitness
            if is_best:
                state.best_fitness, state.best_epoch = metrics["fitness"], index
        self._count_time()
        row["epoch_seconds"] = state.epoch_seconds
        state.history.append(row)
        state.epoch_seconds = 0.0
        if self.fabric.is_global_zero:
            events.on_epoch(state, is_best)
        self._save(events)

    def _count_time(self) -> None:
        now = time.monotonic()
        self.state.epoch_seconds += now - self._counted
        self._counted = now

    def _save(self, events: Events) -> None:
        self._count_time()
        if self.fabric.is_global_zero:
            self.state.model = self.detector.state_dict()
            self.state.average = self.average.model.state_dict()
            self.state.average_updates = self.average.updates
            self.state.optimizer = self.optimizer.state_dict()
            self.state.scaler = self.fabric.strategy.precision.state_dict()
            events.save(self.state)
        self.fabric.barrier()

    def _out_of_patience(self) -> bool:
        state, patience = self.state, self.recipe.patience
        validated = state.best_fitness > float("-inf")
        return patience > 0 and validated and state.epoch - 1 - state.best_epoch >= patience

    def _set_train_mode(self) -> None:
        self.network.train()
        if self.recipe.freeze_batch_norm:
            freeze_batch_norm(self.detector)

    def _epoch_batches(self, epoch: int) -> EpochBatches:
        plain = epoch >= self.recipe.mosaic_epochs
        return EpochBatches(
            self.dataset,
            self.plain_augmentation if plain else self.augmentation,
            self.detector.config.modalities,
            batch_size=self.recipe.batch_size,
            seed=self.recipe.seed,
            epoch=epoch,
            rank=self.fabric.global_rank,
            processes=self.fabric.world_size,
            selection=self.selection,
        )


def detection_loss(recipe: Recipe) -> DetectionLoss:
    """Return the loss with the recipe's gains."""
    return DetectionLoss(
        TaskAlignedAssigner(minimum_side_px=recipe.small_box_side_px),
        recipe.box_gain,
        recipe.dfl_gain,
        recipe.cls_gain,
    )


def freeze_batch_norm(model: nn.Module) -> None:
    """Make batch normalisation use its running statistics without updating them."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
