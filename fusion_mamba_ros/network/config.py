# SPDX-License-Identifier: Apache-2.0
"""The configuration of a detector: every part of the network is a switch here."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

FUSIONS = ("fusion_mamba", "add", "concat", "cross_attention")
LEVELS = (3, 4, 5)
STRIDES = tuple(2**level for level in LEVELS)
MAX_MODALITIES = 4
_DEFAULT_CHANNELS = {"rgb": 3}
# Least and most of the whole numbers. The upper limits are far above any use: a damaged or hostile configuration must
# not build billions of weights.
_LIMITS = {"classes": (1, 10_000), "dssf_count": (0, 64), "state_size": (1, 256), "reg_max": (2, 64)}


@dataclass(frozen=True)
class Scale:
    """Channels of the five backbone stages (strides 2 to 32) and bottlenecks in the last four."""

    channels: tuple[int, int, int, int, int]
    depths: tuple[int, int, int, int]
    neck_depth: int


def _scale(base_depths: tuple[int, int, int, int], depth: float, width: float, max_channels: int) -> Scale:
    channels = tuple(-(-round(min(c, max_channels) * width) // 8) * 8 for c in (64, 128, 256, 512, 1024))
    depths = tuple(max(round(count * depth), 1) for count in base_depths)
    return Scale(channels, depths, max(round(3 * depth), 1))  # type: ignore[arg-type]


_V8, _V5 = (3, 6, 6, 3), (3, 6, 9, 3)
# `paper` is the shape of the published models: fused levels of 256, 512 and 1024 channels, depths 3-9-9-3.
_PAPER = Scale((64, 128, 256, 512, 1024), (3, 9, 9, 3), 3)
SCALES: dict[str, dict[str, Scale]] = {
    "yolov8": {
        "n": _scale(_V8, 0.33, 0.25, 1024),
        "s": _scale(_V8, 0.33, 0.50, 1024),
        "m": _scale(_V8, 0.67, 0.75, 768),
        "l": _scale(_V8, 1.00, 1.00, 512),
        "x": _scale(_V8, 1.00, 1.25, 512),
        "paper": _PAPER,
    },
    "yolov5": {
        "n": _scale(_V5, 0.33, 0.25, 1024),
        "s": _scale(_V5, 0.33, 0.50, 1024),
        "m": _scale(_V5, 0.67, 0.75, 1024),
        "l": _scale(_V5, 1.00, 1.00, 1024),
        "x": _scale(_V5, 1.33, 1.25, 1024),
        "paper": _PAPER,
    },
}

NAMED: dict[str, dict[str, Any]] = {
    "paper-yolov5": {"backbone": "yolov5", "width": "paper", "modalities": {"rgb": 3, "thermal": 3}},
    "paper-yolov8": {"backbone": "yolov8", "width": "paper", "modalities": {"rgb": 3, "thermal": 3}},
}


@dataclass(frozen=True)
class ModelConfig:
    """What a `FusionMambaDetector` is built from; each field is one switch.

    Raises ``ValueError``, one sentence, if a value is not one that can be built.
    """

    backbone: str = "yolov8"
    """`yolov8` (C2f stages) or `yolov5` (C3 stages)."""
    width: str = "n"
    """`n`, `s`, `m`, `l`, `x`, or `paper` (levels of 256/512/1024 channels, depths 3-9-9-3)."""
    neck: str = "auto"
    """PAN of `yolov8` or `yolov5` (1x1 convolutions before upsampling); `auto`: the backbone's, yolov5 for `paper`."""
    classes: int = 80
    """Number of object classes."""
    modalities: Mapping[str, int] = field(default_factory=lambda: {"rgb": 3, "thermal": 1})
    """Name and input channels of each stream, in order; also accepted: a list of names (rgb 3 channels, others 1)."""
    fusion: str = "fusion_mamba"
    """`fusion_mamba`, `add`, `concat` or `cross_attention`; a single modality is never fused."""
    levels: tuple[int, ...] = LEVELS
    """Pyramid levels at which `fusion` works; the streams of the others are only added up for the neck."""
    fusion_channels: int | None = None
    """Most channels that a fusion block works in; a level with more gets 1x1 projections around it. None: no limit."""
    dssf_count: int = 8
    """Dual state space fusion modules in a row at each level."""
    sscs: bool = True
    """Channel swapping before them; off: neither the swap nor its VSS blocks."""
    gate: bool = True
    """The gates z of the dual state space fusion; off: all ones."""
    dual_attention: bool = True
    """Whether each stream also reads the other streams' hidden state."""
    share_ssm: bool = True
    """Whether the streams of a dual state space fusion share the parameters of the selective scan."""
    state_size: int = 16
    """States N of each channel of the selective scan."""
    reg_max: int = 16
    """Bins of the distribution of each box side."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "modalities", _modalities(self.modalities))
        object.__setattr__(self, "levels", _levels(self.levels))
        _require_choice("backbone", self.backbone, tuple(SCALES))
        _require_choice("width", self.width, tuple(SCALES[self.backbone]))
        _require_choice("neck", self.neck, ("auto", *SCALES))
        _require_choice("fusion", self.fusion, FUSIONS)
        for name, (least, most) in _LIMITS.items():
            _require_int(name, getattr(self, name), least, most)
        for name in ("sscs", "gate", "dual_attention", "share_ssm"):
            if type(getattr(self, name)) is not bool:
                raise ValueError(f"{name} is {getattr(self, name)!r}: set it to true or false")
        if self.fusion_channels is not None:
            _require_int("fusion_channels", self.fusion_channels, 4, 4096)
            if self.fusion_channels % 4:
                raise ValueError(f"fusion_channels is {self.fusion_channels}: choose a multiple of 4")
        if self.fusion == "fusion_mamba" and self.dssf_count == 0 and not self.sscs:
            raise ValueError(
                "dssf_count is 0 and sscs is off, which leaves nothing to fuse with: set fusion: add instead"
            )

    @property
    def scale(self) -> Scale:
        """Channels and depths that `backbone` and `width` stand for."""
        return SCALES[self.backbone][self.width]

    @property
    def neck_layout(self) -> str:
        """`neck` with `auto` resolved."""
        if self.neck != "auto":
            return self.neck
        return "yolov5" if self.width == "paper" else self.backbone

    @classmethod
    def named(cls, name: str, **changes: Any) -> ModelConfig:
        """Return a configuration after a published model (`paper-yolov5`, `paper-yolov8`), with fields changed."""
        _require_choice("named configuration", name, tuple(NAMED))
        return cls.from_dict({**NAMED[name], **changes})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """Return the configuration of a plain mapping; fields that are absent keep their default."""
        if not isinstance(values, Mapping):
            raise ValueError(f"the model configuration is {values!r}: write it as a mapping of fields")
        known = [entry.name for entry in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                raise ValueError(f"the model configuration has no field {name!r}: use {', '.join(known)}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, mappings and scalars, as JSON and YAML hold them."""
        values = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        return {**values, "modalities": dict(self.modalities), "levels": list(self.levels)}


def _require_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}: choose {', '.join(choices)}")


def _require_int(name: str, value: Any, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} is {value!r}: give a whole number of at least {least}")
    if value > most:
        raise ValueError(f"{name} is {value}: give a whole number of at most {most}")


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
        _require_int(f"channels of modality {name!r}", channels, 1, 64)
    return dict(value)


def _levels(value: Any) -> tuple[int, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or any(level not in LEVELS for level in value):
        raise ValueError(f"levels is {value!r}: list any of {', '.join(map(str, LEVELS))}")
    return tuple(level for level in LEVELS if level in value)
