# SPDX-License-Identifier: Apache-2.0
"""The training recipe: all settings of a training run except the data."""

from __future__ import annotations

import copy
import dataclasses
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fusion_mamba_ros.datasets import AugmentationConfig
from fusion_mamba_ros.network import ModelConfig
from fusion_mamba_ros.perception.checkpoint import MOST_SIDE
from fusion_mamba_ros.perception.documents import DocumentError, parse_yaml
from fusion_mamba_ros.perception.modality import known_modalities
from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling
from fusion_mamba_ros.perception.tiling import Tiling
from fusion_mamba_ros.training.optimizer import OPTIMIZERS

SCHEDULES = ("linear", "cosine")
# Fields that accept the word `checkpoint`, which stands for the value stored with the start weights.
FROM_CHECKPOINT = ("model", "input_size", "thermal")
# Old field names and the names that replace them. The old names are accepted for one release.
RENAMED = {"plain_epochs": "close_mosaic_epochs", "distribution_gain": "dfl_gain", "class_gain": "cls_gain"}
RECIPES = Path(__file__).parent / "recipes"
PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


class TrainingError(ValueError):
    """Error that prevents a training run from starting or continuing; the message is one sentence for the user."""


@dataclass(frozen=True)
class Recipe:
    """Settings of a training run; a recipe is written as YAML, and this package ships some in `recipes/`.

    ``model.classes`` is taken from the data and ``augmentation.size`` from ``input_size``.
    Raises ``ValueError`` with a one-sentence message if a value is invalid.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    input_size: tuple[int, int] = (640, 640)
    """Width and height of the network input in pixels."""
    thermal: ThermalScaling = field(default_factory=ThermalScaling)
    """Scaling of 16-bit thermal counts to grey levels, and whether warm is bright; stored in the checkpoint."""

    epochs: int = 150
    batch_size: int = 8
    """Number of pairs in a batch, over all processes together."""
    nominal_batch_size: int = 64
    """Gradients of about this many pairs are accumulated before an optimizer step."""
    optimizer: str = "sgd"
    learning_rate: float = 0.01
    """Learning rate after the warm-up, for gradients summed over the nominal batch, as in YOLO."""
    final_fraction: float = 0.01
    """Final learning rate as a fraction of `learning_rate`."""
    schedule: str = "linear"
    momentum: float = 0.937
    """Momentum of SGD, or the first beta of AdamW."""
    weight_decay: float = 5e-4
    warmup_epochs: float = 3.0
    warmup_momentum: float = 0.8
    warmup_bias_rate: float = 0.1
    """Learning rate of the biases at the first step."""
    clip_norm: float = 10.0
    """Gradient clipping norm."""

    box_gain: float = 7.5
    dfl_gain: float = 1.5
    cls_gain: float = 0.5
    small_box_side_px: float = 0.0
    """Shortest box edge, in pixels, that the assigner uses to test which anchors lie inside a box; 0: no limit.

    Without a limit, a box smaller than the finest stride (8) may contain no anchor centre and is then never learned.
    """

    ema_decay: float = 0.9999
    ema_ramp: float = 2000.0
    """Number of updates after which the decay of the moving average has reached 63 % of `ema_decay`."""
    close_mosaic_epochs: int = 10
    """Number of final epochs without mosaic, limited to a quarter of the run so that short runs still use mosaic."""
    validate_every: int = 1
    """Number of epochs from one validation to the next."""
    patience: int = 50
    """Number of epochs without a better fitness after which training stops; 0: never."""
    freeze_batch_norm: bool = False
    """Keep the batch normalisation statistics fixed, for fine-tuning with tiny batches."""

    precision: str = "fp32"
    """`fp32`, `bf16` or `fp16` (mixed)."""
    channels_last: bool = True
    """Use the channels-last memory layout, which is faster on GPUs with tensor cores and on most CPUs."""
    workers: int = 0
    """Number of processes that prepare batches; 0: the training process prepares them."""
    save_every_minutes: float = 10.0
    """Longest interval in minutes between saves of the training state, and so the most work lost in a power cut."""
    tiles: str = ""
    """Tiles of the validation images: `auto`, COLUMNSxROWS such as `3x2`, or empty for the whole image."""
    sample_predictions: int = 4
    """Number of validation pairs that are drawn with their detections after each validation."""
    seed: int = 0

    def __post_init__(self) -> None:
        sides = self.input_size if isinstance(self.input_size, Sequence) else ()
        if len(sides) != 2 or any(type(side) is not int or side % 32 or not 32 <= side <= MOST_SIDE for side in sides):
            raise TrainingError(
                f"input_size is {self.input_size!r}: give [width, height] in multiples of 32, at most {MOST_SIDE}"
            )
        object.__setattr__(self, "input_size", tuple(sides))
        object.__setattr__(self, "augmentation", dataclasses.replace(self.augmentation, size=self.input_size))
        for name, choices in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES), ("precision", tuple(PRECISIONS))):
            if getattr(self, name) not in choices:
                raise TrainingError(f"{name} is {getattr(self, name)!r}: choose {', '.join(choices)}")
        for name in ("epochs", "batch_size", "nominal_batch_size", "validate_every"):
            self._require(name, int, least=1)
        for name in ("close_mosaic_epochs", "patience", "workers", "sample_predictions", "seed"):
            self._require(name, int, least=0)
        for name in ("learning_rate", "clip_norm", "ema_ramp"):
            self._require(name, float, least=0, above=True)
        for name in ("weight_decay", "warmup_epochs", "warmup_bias_rate", "save_every_minutes", "small_box_side_px"):
            self._require(name, float, least=0)
        for name in ("box_gain", "dfl_gain", "cls_gain"):
            self._require(name, float, least=0)
        for name in ("final_fraction", "momentum", "warmup_momentum", "ema_decay"):
            self._require(name, float, least=0, most=1)
        try:
            Tiling.parse(self.tiles)
        except (TypeError, ValueError) as error:
            raise TrainingError(f"recipe: {error}") from error
        for name in ("freeze_batch_norm", "channels_last"):
            if type(getattr(self, name)) is not bool:
                raise TrainingError(f"{name} is {getattr(self, name)!r}: set it to true or false")

    def _require(
        self, name: str, kind: type[float], *, least: float, most: float | None = None, above: bool = False
    ) -> None:
        value: Any = getattr(self, name)
        # YAML parses `1e-3` as a string.
        if kind is float and isinstance(value, (int, str)) and not isinstance(value, bool):
            try:
                value = float(value)
            except ValueError:
                raise TrainingError(f"{name} is {value!r}: give a number") from None
            object.__setattr__(self, name, value)
        if isinstance(value, bool) or not isinstance(value, kind) or not math.isfinite(value):
            raise TrainingError(f"{name} is {value!r}: give a {'whole ' if kind is int else ''}number")
        if value < least or (above and value == least) or (most is not None and value > most):
            limits = f"{'more than' if above else 'at least'} {least:g}" + (f", at most {most:g}" if most else "")
            raise TrainingError(f"{name} is {value}: give {limits}")

    @property
    def accumulation(self) -> int:
        """Number of batches whose gradients are accumulated for one optimizer step."""
        return max(1, round(self.nominal_batch_size / self.batch_size))

    @property
    def mosaic_epochs(self) -> int:
        """Number of epochs with mosaic; the last `close_mosaic_epochs` (at most a quarter of the run) have none."""
        return self.epochs - min(self.close_mosaic_epochs, self.epochs // 4)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Return the recipe in a plain mapping; absent fields keep their default."""
        known = [entry.name for entry in dataclasses.fields(cls)]
        values = _with_new_names(values)
        for name in values:
            if name not in known:
                raise TrainingError(f"the recipe has no field {name!r}: use {', '.join(known)}")
        changed = dict(values)
        changed["model"] = ModelConfig.from_dict(values.get("model") or {})
        changed["augmentation"] = AugmentationConfig.from_dict(values.get("augmentation") or {})
        changed["thermal"] = ThermalScaling.from_dict(values.get("thermal") or {})
        return cls(**changed)

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain lists, mappings and scalars."""
        values = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        return {
            **values,
            "model": self.model.to_dict(),
            "augmentation": self.augmentation.to_dict(),
            "thermal": self.thermal.to_dict(),
            "input_size": list(self.input_size),
        }

    @classmethod
    def read(
        cls,
        path: str | Path,
        overrides: Mapping[str, Any] | None = None,
        checkpoint: Mapping[str, Any] | None = None,
    ) -> Recipe:
        """Return the recipe in a YAML file, or the shipped recipe of that name in `recipes/`.

        ``overrides``: dotted field names, such as `model.scale`, and the values that replace those of the recipe.
        ``checkpoint``: values stored with the start weights. They replace the word `checkpoint` in the fields `model`,
        `input_size` and `thermal`.
        Raises `TrainingError` if the recipe cannot be read or used.
        """
        shipped = {file.stem: file for file in sorted(RECIPES.glob("*.yaml"))}
        try:
            values = parse_yaml(shipped.get(str(path), Path(path)).read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not a text file"
            raise TrainingError(
                f"recipe '{path}' cannot be read ({reason}): name a YAML file, or one of {', '.join(shipped)}"
            ) from error
        except DocumentError as error:
            raise TrainingError(f"recipe '{path}' cannot be used: {error}") from error
        if not isinstance(values, dict):
            raise TrainingError(f"recipe '{path}' holds {values!r}: write it as a mapping of fields")
        values = _from_checkpoint(_with_new_names(values), checkpoint)
        for name, value in _from_checkpoint(_with_new_names(overrides or {}), checkpoint).items():
            *sections, leaf = name.split(".")
            section = values
            for part in sections:
                section = section.setdefault(part, {})
                if not isinstance(section, dict):
                    raise TrainingError(f"the recipe has no section {part!r} for {name!r}")
            section[leaf] = value
        return cls.from_dict(values)

    def for_data(self, class_names: tuple[str, ...]) -> Recipe:
        """Return the recipe with the number of classes of the data, and with dropout of the model's modalities only."""
        model = dataclasses.replace(self.model, classes=len(class_names))
        others = set(known_modalities()) - set(model.modalities)
        # The only stream of a model is never dropped.
        never = others if len(model.modalities) > 1 else known_modalities()
        augmentation = self.augmentation.without_dropout_of(never)
        return dataclasses.replace(self, model=model, augmentation=augmentation)


def _with_new_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a recipe under their new names; each old name gives a ``DeprecationWarning``."""
    renamed: dict[str, Any] = {}
    for name, value in values.items():
        new = RENAMED.get(name, name)
        if new != name:
            if new in values:
                raise TrainingError(f"the recipe has {new} and its old name {name}: leave out {name}")
            warnings.warn(f"recipe field {name} is now called {new}: rename it", DeprecationWarning, stacklevel=3)
        renamed[new] = value
    return renamed


def _from_checkpoint(values: Mapping[str, Any], checkpoint: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the fields, with the word `checkpoint` replaced by the value stored with the start weights."""
    wanted = [name for name, value in values.items() if value == "checkpoint" and name in FROM_CHECKPOINT]
    if wanted and checkpoint is None:
        raise TrainingError(
            f"the recipe takes {', '.join(wanted)} from a checkpoint: pass --weights CHECKPOINT or give other values"
        )
    # Copy the values, because overrides of a section are written into them.
    taken = {name: copy.deepcopy((checkpoint or {})[name]) for name in wanted}
    return {**values, **taken}


def parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """Return `name=value` texts as a mapping; the values are parsed as YAML."""
    values = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise TrainingError(f"--set {assignment} names no value: write --set name=value")
        try:
            values[name.strip()] = parse_yaml(value)
        except DocumentError as error:
            raise TrainingError(f"--set {name}: the value cannot be used: {error}") from error
    return values
