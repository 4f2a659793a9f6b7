# SPDX-License-Identifier: Apache-2.0
"""Which changes training makes to its pairs, how strongly and how often."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from fusion_mamba_ros.perception.modality import known_modalities


@dataclass(frozen=True)
class AugmentationConfig:
    """Strengths and probabilities of the paired augmentation; ``AugmentationConfig.none(size)`` only letterboxes.

    Raises ``ValueError`` on a probability outside [0, 1], dropouts that add up to more than 1, or a bad size.
    """

    size: tuple[int, int] = (640, 640)  # network input, (width, height) in pixels, multiples of 32

    # Geometry, the same for both pictures and the boxes.
    mosaic_probability: float = 1.0  # four pairs joined in one picture
    rotation_degrees: float = 0.0  # up to this, either way
    scale: float = 0.5  # zoom between 1 - scale and 1 + scale; above 1 crops
    translate: float = 0.1  # shift up to this share of the picture
    shear_degrees: float = 0.0
    flip_probability: float = 0.5  # left and right exchanged
    multi_scale: float = 0.0  # network size of a batch between 1 - this and 1 + this, in steps of 32

    # A box stays if this much of it is still in the picture, and it is this large.
    minimum_visibility: float = 0.2  # share of its area
    minimum_side_px: float = 2.0

    # Objects of another pair of the same group (day, night) pasted into both images.
    copy_paste_probability: float = 0.0
    copy_paste_objects: float = 3  # at most, a whole number

    # Colour, RGB only.
    hue: float = 0.015  # share of the colour circle
    saturation: float = 0.7  # gain between 1 - this and 1 + this
    brightness: float = 0.4  # gain between 1 - this and 1 + this
    grey_probability: float = 0.02  # without colour, as an RGB camera in night mode
    darken_probability: float = 0.05  # gain 0.1 to 0.5 with sensor noise, as at night
    blur_probability: float = 0.02  # RGB out of focus

    # RGB nearly or wholly blind, while thermal sees.
    haze_probability: float = 0.0
    haze_contrast: float = 0.1  # least contrast that haze leaves, at the top of the image
    smoke_probability: float = 0.0
    smoke_contrast: float = 0.05  # least contrast that smoke leaves, where it is thickest
    darkness_probability: float = 0.0
    darkness_gain: float = 0.1  # brightness at most this times what it was

    # Thermal only.
    thermal_gain: float = 0.3  # contrast about the mean between 1 - this and 1 + this
    thermal_offset: float = 0.1  # added brightness, share of the full range
    thermal_noise: float = 0.02  # standard deviation up to this share of the full range
    fixed_pattern_noise: float = 0.02  # offsets of rows and columns, standard deviation up to this share
    polarity_probability: float = 0.0  # black-hot instead of white-hot
    thermal_blur_probability: float = 0.0
    thermal_blur_px: float = 2.5  # standard deviation at most

    # Thermal (any modality with a homography) against RGB, the error of a calibration; boxes stay where RGB shows them.
    misalignment: float = 0.01  # shift up to this share of the picture's width
    misalignment_degrees: float = 0.5
    misalignment_scale: float = 0.01
    large_misalignment_probability: float = 0.0
    large_misalignment_px: float = 20.0  # further shift in any direction up to this many pixels of the network's input

    # Probability that a modality is missing, as where its camera is; `rgb+depth` drops both at once. At most one entry
    # applies to a pair, never so that nothing is left, and never the same one in all pairs that a process trains on at
    # once, so nothing in batches of one.
    modality_dropout: Mapping[str, float] = field(default_factory=lambda: {"rgb": 0.1, "thermal": 0.1})

    def __post_init__(self) -> None:
        sides = self.size if isinstance(self.size, Sequence) else ()
        if len(sides) != 2 or any(type(side) is not int or side < 32 or side % 32 for side in sides):
            raise ValueError(f"augmentation size is {self.size!r}: expected (width, height) in multiples of 32")
        object.__setattr__(self, "size", tuple(sides))
        object.__setattr__(self, "modality_dropout", _dropout(self.modality_dropout))
        for name, value in self._numbers().items():
            if type(value) not in (int, float) or not math.isfinite(value):
                raise ValueError(f"augmentation {name} is {value!r}: expected a number")
            if (name.endswith("_probability") or name == "minimum_visibility") and not 0 <= value <= 1:
                raise ValueError(f"augmentation {name} is {value}: expected a number from 0 to 1")
            if value < 0:
                raise ValueError(f"augmentation {name} is {value}: expected 0 or more")
        for name in ("haze_contrast", "smoke_contrast", "darkness_gain"):
            if getattr(self, name) > 1:
                raise ValueError(f"augmentation {name} is {getattr(self, name)}: expected a number from 0 to 1")
        if self.copy_paste_objects != int(self.copy_paste_objects):
            raise ValueError(f"augmentation copy_paste_objects is {self.copy_paste_objects}: expected a whole number")
        for name in ("scale", "multi_scale", "saturation", "brightness", "thermal_gain", "misalignment_scale"):
            if getattr(self, name) >= 1:
                raise ValueError(f"augmentation {name} is {getattr(self, name)}: expected less than 1")

    @classmethod
    def none(cls, size: tuple[int, int]) -> AugmentationConfig:
        """Return the configuration that changes nothing: both pictures letterboxed to ``size``."""
        others = ("size", "minimum_visibility", "modality_dropout")
        numbers = dict.fromkeys((entry.name for entry in fields(cls) if entry.name not in others), 0.0)
        return cls(size=size, minimum_visibility=0.0, modality_dropout={}, **numbers)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AugmentationConfig:
        """Return the configuration of a YAML mapping; raises ``ValueError`` on an unknown key."""
        if not isinstance(values, Mapping):
            raise ValueError(f"augmentation is {values!r}: write it as a mapping of fields")
        values = _without_old_keys(values)
        unknown = sorted(set(values) - {entry.name for entry in fields(cls)})
        if unknown:
            known = ", ".join(entry.name for entry in fields(cls))
            raise ValueError(f"augmentation has unknown keys {', '.join(unknown)}: it knows {known}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON or YAML."""
        return {"size": list(self.size), **self._numbers(), "modality_dropout": dict(self.modality_dropout)}

    def without_dropout_of(self, modalities: Collection[str]) -> AugmentationConfig:
        """Return the configuration without those dropouts that name one of ``modalities``."""
        kept = {
            names: value
            for names, value in self.modality_dropout.items()
            if set(names.split("+")).isdisjoint(modalities)
        }
        return replace(self, modality_dropout=kept)

    def _numbers(self) -> dict[str, float]:
        others = ("size", "modality_dropout")
        return {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name not in others}


def _dropout(value: Any) -> dict[str, float]:
    """Return the checked dropouts, single modalities first, in the registry's order: that of the draw."""
    if not isinstance(value, Mapping):
        raise ValueError(f"augmentation modality_dropout is {value!r}: write it as a mapping such as {{rgb: 0.1}}")
    for names, probability in value.items():
        parts = names.split("+") if isinstance(names, str) else []
        if not parts or len(set(parts)) != len(parts) or set(parts) - set(known_modalities()):
            raise ValueError(
                f"augmentation modality_dropout names {names!r}: use {', '.join(known_modalities())}, joined by plus "
                "where several are dropped at once"
            )
        if type(probability) not in (int, float) or not 0 <= probability <= 1:
            raise ValueError(f"augmentation modality_dropout of {names} is {probability!r}: give a number from 0 to 1")
    if sum(value.values()) > 1:
        total = ", ".join(f"{names} {probability}" for names, probability in value.items())
        raise ValueError(f"augmentation modality_dropout ({total}) exclude each other: together at most 1")
    order = known_modalities()
    keys = sorted(value, key=lambda names: (names.count("+"), [order.index(part) for part in names.split("+")]))
    return {names: value[names] for names in keys}


def _without_old_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the mapping with `rgb_dropout` and `thermal_dropout` of older recipes as `modality_dropout`."""
    old = {name: values[f"{name}_dropout"] for name in ("rgb", "thermal") if f"{name}_dropout" in values}
    if not old:
        return dict(values)
    warnings.warn(
        "augmentation rgb_dropout and thermal_dropout are deprecated: use modality_dropout: {rgb: ..., thermal: ...}",
        DeprecationWarning,
        stacklevel=3,
    )
    rest = {name: value for name, value in values.items() if name not in ("rgb_dropout", "thermal_dropout")}
    # As before for a key that is absent; beside the new key they are an override of its entries on the command line.
    return {**rest, "modality_dropout": {**rest.get("modality_dropout", {"rgb": 0.1, "thermal": 0.1}), **old}}
