# SPDX-License-Identifier: Apache-2.0
"""The configuration of a detector, with one field for each configurable part of the network."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fusion_mamba_ros.network.backbones import BACKBONES, BackboneKind
from fusion_mamba_ros.network.fusion import OPERATORS, FusionOperator
from fusion_mamba_ros.network.old_config_names import MOVED, RENAMED, warn_of_old_names, with_new_names
from fusion_mamba_ros.network.setting_checks import require_choice, require_int

NECKS = ("yolov8", "yolov5")
MISSING = ("zeros", "learned")
LEVELS = (3, 4, 5)
STRIDES = tuple(2**level for level in LEVELS)
MAX_MODALITIES = 4
_DEFAULT_CHANNELS = {"rgb": 3}
# Smallest and largest values of the integer fields. The upper limits are far above any practical use. They prevent a
# damaged or hostile configuration from building billions of weights.
_LIMITS = {"classes": (1, 10_000), "reg_max": (2, 64)}

NAMED: dict[str, dict[str, Any]] = {
    "paper-yolov5": {"backbone": "yolov5", "scale": "paper", "modalities": {"rgb": 3, "thermal": 3}},
    "paper-yolov8": {"backbone": "yolov8", "scale": "paper", "modalities": {"rgb": 3, "thermal": 3}},
}


@dataclass(frozen=True)
class ModelConfig:
    """Settings from which a `FusionMambaDetector` is built.

    In a mapping (YAML, JSON), the settings of a fusion operator are in a section with the operator's name:
    ``{"fusion": "fusion_mamba", "fusion_mamba": {"dssf_count": 1}}``. The sections of operators that are not chosen are
    checked and then ignored. Old field names (`old_config_names.py`) are accepted with a ``DeprecationWarning``.
    Raises ``ValueError`` with a one-sentence message if a value is invalid.
    """

    backbone: str = "yolov8"
    """Name in `BACKBONES`: `yolov8` (C2f stages), `yolov5` (C3 stages), `efficientnet_lite0`."""
    scale: str = "n"
    """`n`, `s`, `m`, `l`, `x` or `paper` (levels of 256/512/1024 channels, depths 3-9-9-3), as the backbone allows."""
    neck: str = "auto"
    """PAN layout: `yolov8`, `yolov5` (1x1 convolutions before upsampling) or `auto` (the default of the backbone).

    The default is the YOLO version of the backbone, `yolov8` for EfficientNet-Lite0, and `yolov5` for scale `paper`.
    """
    classes: int = 80
    """Number of object classes."""
    modalities: Mapping[str, int] = field(default_factory=lambda: {"rgb": 3, "thermal": 1})
    """Name and number of input channels of each stream, in order.

    A list of names is also accepted; then `rgb` has 3 channels and every other modality has 1.
    """
    fusion: str = "fusion_mamba"
    """Name in `OPERATORS`, such as `fusion_mamba`, `add`, `concat` or `cft`; unused with a single modality."""
    operator: FusionOperator | None = None
    """Settings of the fusion operator; None: the operator's defaults."""
    levels: tuple[int, ...] = LEVELS
    """Pyramid levels at which the fusion operator works; at the other levels, the streams are added for the neck."""
    reg_max: int = 16
    """Number of bins in the distribution of each box edge."""
    missing: str = "zeros"
    """What stands for a missing image: `zeros`, or `learned` (a vector of `MissingTokens` at each level).

    With `learned`, the backbone of a missing image need not be computed. Unused with a single modality.
    """

    def __post_init__(self) -> None:
        object.__setattr__(self, "modalities", _modalities(self.modalities))
        object.__setattr__(self, "levels", _levels(self.levels))
        require_choice("backbone", self.backbone, BACKBONES)
        require_choice("scale", self.scale, BACKBONES[self.backbone].scales)
        require_choice("neck", self.neck, ("auto", *NECKS))
        require_choice("fusion", self.fusion, OPERATORS)
        require_choice("missing", self.missing, MISSING)
        for name, (least, most) in _LIMITS.items():
            require_int(name, getattr(self, name), least, most)
        kind = OPERATORS[self.fusion]
        if self.operator is None:
            object.__setattr__(self, "operator", kind())
        elif not isinstance(self.operator, kind):
            raise ValueError(f"operator is {self.operator}, fusion is {self.fusion}: set both, or operator to None")

    @property
    def backbone_kind(self) -> BackboneKind:
        """The entry of the backbone in the registry."""
        return BACKBONES[self.backbone]

    @property
    def level_channels(self) -> tuple[int, int, int]:
        """Channels of the features at strides 8, 16 and 32."""
        return self.backbone_kind.level_channels(self.scale)

    @property
    def neck_layout(self) -> str:
        """The layout of the neck, with `auto` resolved."""
        return self.neck if self.neck != "auto" else self.backbone_kind.neck_layout(self.scale)

    @classmethod
    def named(cls, name: str, **changes: Any) -> ModelConfig:
        """Return the configuration of a published model (`paper-yolov5`, `paper-yolov8`) with ``changes`` applied."""
        require_choice("named configuration", name, NAMED)
        return cls.from_dict({**NAMED[name], **changes})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, stored: bool = False) -> ModelConfig:
        """Return the configuration in a plain mapping; absent fields keep their default.

        ``stored``: whether the mapping comes from a file that users do not edit; old names then give no warning.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"the model configuration is {values!r}: write it as a mapping of fields")
        if not stored:
            warn_of_old_names(values, stacklevel=2)
        fields = with_new_names(values, OPERATORS)
        operators = {name: kind.from_dict(name, fields.pop(name)) for name, kind in OPERATORS.items() if name in fields}
        known = [entry.name for entry in dataclasses.fields(cls) if entry.name != "operator"]
        for name in fields:
            if name not in known:
                remedy = f"use {', '.join(known)}, or a section {', '.join(OPERATORS)}"
                raise ValueError(f"the model configuration has no field {name!r}: {remedy}")
        fusion = fields.get("fusion", cls.fusion)
        return cls(**fields, operator=operators.get(fusion) if isinstance(fusion, str) else None)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain lists, mappings and scalars for JSON and YAML."""
        values = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        if self.missing == "zeros":
            del values["missing"]  # readable by versions without this field
        settings = values.pop("operator").to_dict()
        section = {self.fusion: settings} if settings else {}
        return {**values, "modalities": dict(self.modalities), "levels": list(self.levels), **section}

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Return the value of a field that is requested by its old name."""
            if name not in RENAMED and name not in MOVED:
                raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
            warn_of_old_names((name,), stacklevel=2)
            if name in RENAMED:
                return getattr(self, RENAMED[name])
            section, moved = MOVED[name]
            return getattr(self.operator if self.fusion == section else OPERATORS[section](), moved)


_init = ModelConfig.__init__


@functools.wraps(_init)
def _init_with_old_names(self: ModelConfig, *positional: Any, **values: Any) -> None:
    old = [name for name in values if name in RENAMED or name in MOVED]
    if old:
        warn_of_old_names(old, stacklevel=2)
        values = with_new_names(values, OPERATORS)
        for section in {MOVED[name][0] for name in old if name in MOVED}:
            kind, fields, given = OPERATORS[section], values.pop(section), values.get("operator")
            settings = replace(given, **fields) if isinstance(given, kind) else kind(**fields)
            if values.get("fusion", ModelConfig.fusion) == section:
                values["operator"] = settings
    _init(self, *positional, **values)


ModelConfig.__init__ = _init_with_old_names  # type: ignore[method-assign]


def _modalities(value: Any) -> dict[str, int]:
    if isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(name, str) for name in value):
        if len(set(value)) != len(value):
            raise ValueError(f"modalities {list(value)} name one input twice: name each once")
        value = {name: _DEFAULT_CHANNELS.get(name, 1) for name in value}
    if not isinstance(value, Mapping) or not 1 <= len(value) <= MAX_MODALITIES:
        raise ValueError(f"modalities is {value!r}: name 1 to {MAX_MODALITIES} inputs, such as {{rgb: 3, thermal: 1}}")
    for name, channels in value.items():
        if not isinstance(name, str) or not name.isidentifier() or len(name) > 64:
            raise ValueError(f"modalities has the name {name!r}: use letters, digits and underscores")
        require_int(f"channels of modality {name!r}", channels, 1, 64)
    return dict(value)


def _levels(value: Any) -> tuple[int, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or any(level not in LEVELS for level in value):
        raise ValueError(f"levels is {value!r}: list any of {', '.join(map(str, LEVELS))}")
    return tuple(level for level in LEVELS if level in value)
