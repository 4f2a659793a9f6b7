# SPDX-License-Identifier: Apache-2.0
"""Train the backbones of a detector to reproduce the features of a pretrained one, on unlabelled images."""

from __future__ import annotations

import dataclasses
import io
import math
import pickle
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fusion_mamba_ros.datasets.unlabelled_images import UnlabelledImages
from fusion_mamba_ros.network import FusionMambaDetector
from fusion_mamba_ros.network.config import STRIDES
from fusion_mamba_ros.perception.atomic_write import write_atomically
from fusion_mamba_ros.perception.checkpoint_format import with_current_names
from fusion_mamba_ros.perception.compute import fold_batch_norms
from fusion_mamba_ros.perception.preprocessing import with_channels
from fusion_mamba_ros.training.optimizer import build_optimizer
from fusion_mamba_ros.training.recipe import TrainingError
from fusion_mamba_ros.training.schedule import Schedule

FORMAT_VERSION = 1
_MEASURED_BATCHES = 8


@dataclass(frozen=True)
class DistillationSettings:
    """Settings of a distillation, besides the two models and the images.

    ``steps``: number of optimizer steps. ``batch_size``: random crops per step and stream.
    ``input_size``: (width, height) of the crops in pixels.
    ``learning_rate``: peak of the cosine schedule; the optimizer is AdamW.
    ``precision``: `fp32` or `bf16` (mixed).
    """

    steps: int
    batch_size: int = 16
    input_size: tuple[int, int] = (320, 256)
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    warmup_steps: int = 200
    precision: str = "bf16"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} is {getattr(self, name)}: give at least 1")
        if not self.learning_rate > 0:
            raise TrainingError(f"learning_rate is {self.learning_rate}: give more than 0")
        if self.precision not in ("fp32", "bf16"):
            raise TrainingError(f"precision is {self.precision!r}: distillation runs in fp32 or bf16")


@dataclass
class DistillationState:
    """State of a distillation between two steps.

    ``inputs``: paths of the teacher and of the image list. ``recipe``: the recipe with the student's model and the
    thermal scaling.
    """

    settings: dict[str, Any]
    recipe: dict[str, Any]
    inputs: dict[str, str]
    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    model: Mapping[str, Any] = field(default_factory=dict)
    projections: Mapping[str, Any] = field(default_factory=dict)
    optimizer: Mapping[str, Any] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the state to ``path`` atomically.

        Raises `TrainingError` if the file cannot be written, for example on a full disk.
        """
        buffer = io.BytesIO()
        values = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        torch.save({"format": FORMAT_VERSION, **values}, buffer)
        try:
            write_atomically(path, buffer.getvalue())
        except OSError as error:
            remedy = "free disk space, then continue with --resume"
            raise TrainingError(f"'{path}' could not be written ({error.strerror}): {remedy}") from error

    @classmethod
    def load(cls, path: Path) -> DistillationState:
        """Return the state in ``path``, without running code from the file.

        Raises `TrainingError` if the file is missing, damaged or of another format version.
        """
        try:
            values = torch.load(path, map_location="cpu", weights_only=True)
            if values.pop("format") != FORMAT_VERSION:
                raise TrainingError(f"'{path}' is of another version: start again in another folder")
            return cls(**{**values, "model": with_current_names(values["model"], version=2)})
        except FileNotFoundError as error:
            raise TrainingError(f"there is nothing to resume, '{path}' does not exist") from error
        except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, AttributeError) as error:
            raise TrainingError(f"'{path}' is damaged: start again in another folder") from error


class FeatureProjections(nn.Module):
    """One 1x1 convolution per level that maps the features of a student stream to those of the teacher's stream.

    The targets are the teacher's features, normalised to mean 0 and standard deviation 1 in each channel, so that all
    channels and levels have equal weight. The projections are used in distillation only; the start weights do not
    contain them.
    """

    def __init__(self, student_channels: tuple[int, ...], teacher_channels: tuple[int, ...]):
        super().__init__()
        pairs = list(zip(student_channels, teacher_channels, strict=True))
        self.projections = nn.ModuleList(nn.Conv2d(student, teacher, 1) for student, teacher in pairs)
        for level, (_, teacher) in enumerate(pairs):
            self.register_buffer(f"mean_{level}", torch.zeros(teacher))
            self.register_buffer(f"deviation_{level}", torch.ones(teacher))

    def measure(self, features: list[list[Tensor]]) -> None:
        """Set mean and standard deviation of the teacher's channels from its features of several batches."""
        for level in range(len(self.projections)):
            values = torch.cat([batch[level].float().transpose(0, 1).flatten(1) for batch in features], dim=1)
            self.get_buffer(f"mean_{level}").copy_(values.mean(dim=1))
            self.get_buffer(f"deviation_{level}").copy_(values.std(dim=1).clamp_min(1e-6))

    def forward(self, student: list[Tensor], teacher: list[Tensor]) -> list[Tensor]:
        """Return the mean squared error of each level: 0 for a perfect match, 1 for the best constant output."""
        losses = []
        for level, projection in enumerate(self.projections):
            shape = (1, -1, 1, 1)
            mean = self.get_buffer(f"mean_{level}").view(shape)
            target = (teacher[level].float() - mean) / self.get_buffer(f"deviation_{level}").view(shape)
            losses.append(functional.mse_loss(projection(student[level]).float(), target))
        return losses


class Distillation:
    """Train the backbones of ``student`` on the features of the backbones of ``teacher``; the teacher is not trained.

    Both models have the modalities of ``images``. Each stream of the student learns from the teacher's stream of the
    same name. The random crops of a step depend on the seed and the step number only, so a resumed run gets the same
    crops as an uninterrupted one.
    Raises `TrainingError` if the teacher lacks a modality of the student or has other channels for it.
    """

    def __init__(
        self,
        teacher: FusionMambaDetector,
        student: FusionMambaDetector,
        images: Mapping[str, UnlabelledImages],
        settings: DistillationSettings,
        state: DistillationState,
    ):
        for name, channels in student.config.modalities.items():
            if teacher.config.modalities.get(name) != channels:
                raise TrainingError(
                    f"the teacher has no stream {name} of {channels} channels: import it with "
                    f"--set 'modalities={dict(student.config.modalities)}'"
                )
        self.teacher, self.student, self.images, self.settings = teacher, student, images, settings
        self.state = state
        fold_batch_norms(teacher)
        teacher.requires_grad_(False)
        for model in (teacher, student):
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.projections: Mapping[str, FeatureProjections] = nn.ModuleDict(  # type: ignore[assignment]
            {
                name: FeatureProjections(student.config.level_channels, teacher.config.level_channels)
                for name in student.config.modalities
            }
        )
        trained = nn.ModuleList([student.backbones, self.projections])  # type: ignore[list-item]
        self.optimizer = build_optimizer(trained, "adamw", settings.learning_rate, 0.9, settings.weight_decay)
        warmup = min(settings.warmup_steps, settings.steps // 10)
        self.schedule = Schedule("cosine", settings.steps, warmup, settings.learning_rate, 0.01, 0.9, 0.9, 0.0)
        if state.model:
            student.load_state_dict(state.model)
            self._projection_module().load_state_dict(state.projections)
            self.optimizer.load_state_dict(dict(state.optimizer))
        else:
            self._measure()

    def run(
        self,
        save: Callable[[], None],
        on_report: Callable[[dict[str, float]], None] = lambda _: None,
        stop: Callable[[], bool] = lambda: False,
        *,
        report_every: int = 100,
        save_every_minutes: float = 5.0,
    ) -> bool:
        """Train to the end and return True, or return False if ``stop`` ended the training earlier.

        ``save`` is called every ``save_every_minutes`` and at the end. ``on_report`` is called every ``report_every``
        steps with the mean losses since the last report and the images per second.
        """
        sums: dict[str, float] = {}
        saved = reported = time.monotonic()
        count = 0
        while self.state.step < self.settings.steps:
            for name, value in self.step().items():
                sums[name] = sums.get(name, 0.0) + value
            count += 1
            now = time.monotonic()
            if count == report_every or self.state.step == self.settings.steps:
                row = {"step": float(self.state.step)} | {name: value / count for name, value in sums.items()}
                images = count * self.settings.batch_size * len(self.images)
                row["images_per_second"] = images / max(now - reported, 1e-9)
                self.state.history.append(row)
                on_report(row)
                sums, count, reported = {}, 0, now
            if stop():
                self._save(save)
                return False
            if now - saved >= 60 * save_every_minutes:
                self._save(save)
                saved = time.monotonic()
        self._save(save)
        return True

    def step(self) -> dict[str, float]:
        """Train on one batch per stream and return the loss of each stream and stride, such as `rgb_8`.

        Raises `TrainingError` if a loss is not finite.
        """
        self.student.train()
        self.schedule.apply(self.optimizer, self.state.step)
        losses: dict[str, float] = {}
        for name in self.student.config.modalities:
            batch = self._batch(name, self.state.step)
            with self._autocast():
                with torch.no_grad():
                    target = self.teacher.backbones[name](batch)
                levels = self.projections[name](self.student.backbones[name](batch), target)
                total = torch.stack(levels).sum()
            total.backward()
            values = torch.stack(levels).tolist()
            losses |= {f"{name}_{stride}": value for stride, value in zip(STRIDES, values, strict=True)}
        if not all(math.isfinite(value) for value in losses.values()):
            raise TrainingError(f"the loss is not finite in step {self.state.step + 1}: lower --learning-rate")
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.state.step += 1
        return losses

    def _measure(self) -> None:
        for name, projections in self.projections.items():
            with torch.no_grad(), self._autocast():
                # Negative step numbers give other crops than the training steps.
                features = [
                    self.teacher.backbones[name](self._batch(name, -1 - index)) for index in range(_MEASURED_BATCHES)
                ]
            projections.measure(features)

    def _batch(self, name: str, step: int) -> Tensor:
        place = list(self.student.config.modalities).index(name)
        generator = np.random.default_rng((self.settings.seed, place, abs(step), int(step < 0)))
        channels = self.student.config.modalities[name]
        crops = [
            with_channels(self.images[name].draw(self.settings.input_size, generator), channels)
            for _ in range(self.settings.batch_size)
        ]
        batch = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
        return batch.to(torch.float32, memory_format=torch.channels_last).div_(255.0)

    def _autocast(self) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.settings.precision == "bf16")

    def _save(self, save: Callable[[], None]) -> None:
        self.state.model = self.student.state_dict()
        self.state.projections = self._projection_module().state_dict()
        self.state.optimizer = self.optimizer.state_dict()
        save()

    def _projection_module(self) -> nn.Module:
        assert isinstance(self.projections, nn.Module)  # it is a ModuleDict, typed as a mapping
        return self.projections
