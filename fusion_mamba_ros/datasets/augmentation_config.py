# SPDX-License-Identifier: Apache-2.0
"""Configure the augmentation of training pairs: strengths and probabilities."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from fusion_mamba_ros.perception.modality import known_modalities


@dataclass(frozen=True)
class AugmentationConfig:
    """Strengths and probabilities of the paired augmentation.

    ``AugmentationConfig.none(size)`` only letterboxes. Raises ``ValueError`` if a probability is outside [0, 1], the
    dropout probabilities add up to more than 1, or the size or another number is invalid.
    """

    size: tuple[int, int] = (640, 640)  # network input, (width, height) in pixels, multiples of 32

    # Geometry: all images and the boxes get the same transform.
    mosaic_probability: float = 1.0  # four pairs joined in one image
    rotation_degrees: float = 0.0  # largest rotation in either direction
    scale: float = 0.5  # zoom from 1 - scale to 1 + scale; zoom above 1 crops
    translate: float = 0.1  # largest shift, as a fraction of the image size
    shear_degrees: float = 0.0
    flip_probability: float = 0.5  # horizontal flip
    native_crop_probability: float = 0.0  # a part of network size at the resolution of the images, not the whole image
    multi_scale: float = 0.0  # network size of a batch times 1 - this to 1 + this, in steps of 32

    # A box is kept if at least this fraction of it is still in the image and its edges have at least this length.
    minimum_visibility: float = 0.2  # fraction of the box area
    minimum_side_px: float = 2.0

    # Copy-paste: objects of another pair of the same group (day, night) are pasted into all images.
    copy_paste_probability: float = 0.0
    copy_paste_objects: float = 3  # largest number of pasted objects, a whole number

    # Colour augmentation, RGB only.
    hue: float = 0.015  # largest hue shift, as a fraction of the colour circle
    saturation: float = 0.7  # gain from 1 - this to 1 + this
    brightness: float = 0.4  # gain from 1 - this to 1 + this
    grey_probability: float = 0.02  # image without colour, like an RGB camera in night mode
    darken_probability: float = 0.05  # gain 0.1 to 0.5 with sensor noise, like a night image
    blur_probability: float = 0.02  # blur, like an RGB camera out of focus

    # Degraded RGB: the RGB image shows little or nothing, and thermal is unchanged.
    haze_probability: float = 0.0
    haze_contrast: float = 0.1  # lowest remaining contrast, at the top of the image
    smoke_probability: float = 0.0
    smoke_contrast: float = 0.05  # lowest remaining contrast, where the smoke is thickest
    darkness_probability: float = 0.0
    darkness_gain: float = 0.1  # largest brightness gain

    # Thermal augmentation, thermal only.
    thermal_gain: float = 0.3  # contrast gain about the mean, from 1 - this to 1 + this
    thermal_offset: float = 0.1  # largest added brightness, as a fraction of the full range
    thermal_noise: float = 0.02  # largest standard deviation, as a fraction of the full range
    fixed_pattern_noise: float = 0.02  # row and column offsets: largest standard deviation, fraction of full range
    polarity_probability: float = 0.0  # black-hot instead of white-hot
    thermal_blur_probability: float = 0.0
    thermal_blur_px: float = 2.5  # largest standard deviation of the blur

    # Misalignment to RGB of thermal (any modality with `registered`), like a calibration error. The boxes follow RGB.
    misalignment: float = 0.01  # largest shift, as a fraction of the image width
    misalignment_degrees: float = 0.5
    misalignment_scale: float = 0.01
    large_misalignment_probability: float = 0.0
    large_misalignment_px: float = 20.0  # largest additional shift in any direction, in network pixels

    # Probability that a modality is dropped, to simulate a missing camera. `rgb+depth` drops both modalities at once.
    # At most one entry applies to a pair. Dropout never removes all modalities of a pair. It never removes the same
    # modality from all pairs of one process's batch, so it has no effect on batches of one.
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
        """Return the configuration that only letterboxes the images to ``size``."""
        others = ("size", "minimum_visibility", "modality_dropout")
        numbers = dict.fromkeys((entry.name for entry in fields(cls) if entry.name not in others), 0.0)
        return cls(size=size, minimum_visibility=0.0, modality_dropout={}, **numbers)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AugmentationConfig:
        """Return the configuration of a YAML mapping. Raises ``ValueError`` on an unknown key or a bad value."""
        if not isinstance(values, Mapping):
            raise ValueError(f"augmentation is {values!r}: write it as a mapping of fields")
        values = _without_old_keys(values)
        unknown = sorted(set(values) - {entry.name for entry in fields(cls)})
        if unknown:
            known = ", ".join(entry.name for entry in fields(cls))
            raise ValueError(f"augmentation has unknown keys {', '.join(unknown)}: it knows {known}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain values for JSON or YAML."""
        return {"size": list(self.size), **self._numbers(), "modality_dropout": dict(self.modality_dropout)}

    def without_dropout_of(self, modalities: Collection[str]) -> AugmentationConfig:
        """Return a copy without the dropout entries that name one of ``modalities``."""
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
    """Check and sort the dropout entries: single modalities first, then in the order of the registry.

    The random draw uses this order.
    """
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
    """Convert the deprecated keys `rgb_dropout` and `thermal_dropout` to `modality_dropout`."""
    old = {name: values[f"{name}_dropout"] for name in ("rgb", "thermal") if f"{name}_dropout" in values}
    if not old:
        return dict(values)
    warnings.warn(
        "augmentation rgb_dropout and thermal_dropout are deprecated: use modality_dropout: {rgb: ..., thermal: ...}",
        DeprecationWarning,
        stacklevel=3,
    )
    rest = {name: value for name, value in values.items() if name not in ("rgb_dropout", "thermal_dropout")}
    # Without the new key, start from the old defaults. With it, the old keys override its entries (command line).
    return {**rest, "modality_dropout": {**rest.get("modality_dropout", {"rgb": 0.1, "thermal": 0.1}), **old}}
