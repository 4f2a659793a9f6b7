# SPDX-License-Identifier: Apache-2.0
"""The registry of modalities, used by datasets, training, inference, drawing and checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling, ThermalStream, scale_thermal

Image = npt.NDArray[Any]
Levels = npt.NDArray[np.uint8]
Images = Mapping[str, Image | None]
ToLevels = Callable[[Image, ThermalScaling], Levels]

REFERENCE = "rgb"
"""Name of the reference modality. Boxes are in pixels of its image, and the other images are warped to its view."""


class LevelStream(Protocol):
    """Convert the images of one camera in order. An implementation may smooth over time."""

    def scale(self, image: Image, /) -> Levels:
        """Return the next image as 8-bit levels."""

    def reset(self) -> None:
        """Reset the state kept from earlier images."""


@dataclass(frozen=True)
class Modality:
    """One kind of image that a network may have a stream for.

    * ``name``: key in datasets, recipes and checkpoints, and folder name in the `paired_yolo` layout.
    * ``title``: name in messages and drawings.
    * ``channels``: 1 or 3, the channel count of image files and the default channel count of a network stream.
    * ``to_levels(image, scaling)``: returns the 8-bit image (H, W) or (H, W, channels) for the network. It raises
      ``ValueError`` if ``image`` is malformed and returns an 8-bit image unchanged. ``scaling`` is the thermal scaling
      of the run; other modalities ignore it.
    * ``stream``: returns a converter that smooths over time, for a live camera. None means no smoothing.
    * ``registered``: whether a homography may map the image to the reference image. False means that the image is
      aligned by construction.
    * ``augmentation``: the colour changes in training, a name in ``datasets.augmentation.AUGMENTATIONS`` or a function
      with the same parameters.
    * ``missing_value``: the level of every pixel if the image is missing.

    Raises ``ValueError`` for an invalid name, channel count or level.
    """

    name: str
    to_levels: ToLevels
    title: str = ""
    channels: int = 1
    stream: Callable[[ThermalScaling], LevelStream] | None = None
    registered: bool = True
    augmentation: str | Callable[..., Levels] = "none"
    missing_value: int = 0

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or self.name == "fused" or self.name.endswith("_only"):
            raise ValueError(f"modality name is {self.name!r}: use letters, digits and underscores, not a mode's name")
        if self.channels not in (1, 3):
            raise ValueError(f"modality {self.name} has {self.channels} channels: expected 1 or 3")
        if not 0 <= self.missing_value <= 255:
            raise ValueError(f"missing_value of modality {self.name} is {self.missing_value}: expected 0 to 255")
        object.__setattr__(self, "title", self.title or self.name)

    def levels(self, image: Image, scaling: ThermalScaling) -> Levels:
        """Return the result of ``to_levels``. Raises ``ValueError`` if it is not an 8-bit image of the right shape."""
        levels = self.to_levels(image, scaling)
        shapes = (image.shape[:2], (*image.shape[:2], self.channels))
        if levels.dtype != np.uint8 or levels.shape not in shapes or levels.size == 0:
            raise ValueError(
                f"to_levels of modality {self.name} returned {levels.dtype} of shape {levels.shape}: expected uint8 of "
                f"shape {' or '.join(map(str, shapes))}, not empty"
            )
        return levels

    def missing(self, height: int, width: int, channels: int) -> Levels:
        """Return the image (height, width, channels) that replaces a missing image."""
        return np.full((height, width, channels), self.missing_value, np.uint8)


def check_rgb(image: Image) -> Levels:
    """Return ``image`` if it is (H, W, 3) uint8 and not empty. Raises ``ValueError`` with its shape and type if not."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(
            f"rgb image has shape {image.shape} and type {image.dtype}: expected (height, width, 3) of uint8, not empty"
        )
    return image


def linear_levels(name: str, low: float, high: float) -> ToLevels:
    """Return a ``to_levels`` function for images of one channel.

    It maps ``low`` to 0 and ``high`` to 255, linearly in between, and returns 8-bit images unchanged. Use it for
    distances in millimetres or for counts of another sensor. Raises ``ValueError`` unless low < high.
    """
    if not low < high:
        raise ValueError(f"levels of modality {name} go from {low:g} to {high:g}: expected low < high")

    def to_levels(image: Image, scaling: ThermalScaling) -> Levels:
        if image.ndim != 2 or image.dtype not in (np.uint8, np.uint16, np.float32) or image.size == 0:
            raise ValueError(
                f"{name} image has shape {image.shape} and type {image.dtype}: expected (height, width) of uint8, "
                "uint16 or float32, not empty"
            )
        if image.dtype == np.uint8:
            return image
        # NaN marks a pixel without a measurement. It becomes ``high``, the far end, which does no harm.
        shares = (np.nan_to_num(image.astype(np.float32), nan=high, posinf=high, neginf=low) - low) / (high - low)
        return np.asarray(np.rint(255 * np.clip(shares, 0, 1)), np.uint8)

    return to_levels


_modalities: dict[str, Modality] = {}


def register_modality(modality: Modality) -> Modality:
    """Add ``modality`` to the registry and return it. Raises ``ValueError`` if its name is already registered."""
    if modality.name in _modalities:
        raise ValueError(f"modality {modality.name!r} is registered already: choose another name")
    _modalities[modality.name] = modality
    return modality


def unregister_modality(name: str) -> None:
    """Remove a modality from the registry. Unknown names are ignored."""
    _modalities.pop(name, None)


def known_modalities() -> tuple[str, ...]:
    """Return the names of all modalities in order of registration."""
    return tuple(_modalities)


def modality_named(name: str) -> Modality:
    """Return the modality with this name. Raises ``ValueError`` if it is not registered."""
    if name not in _modalities:
        raise ValueError(f"modality {name!r} is not known: use {', '.join(_modalities)}, or register it")
    return _modalities[name]


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return ``names`` in order of registration. Unknown names come last, in the given order."""
    order = {name: index for index, name in enumerate(_modalities)}
    return tuple(sorted(names, key=lambda name: order.get(name, len(order))))


register_modality(
    Modality(
        "rgb",
        to_levels=lambda image, scaling: check_rgb(image),
        title="RGB",
        channels=3,
        registered=False,
        augmentation="rgb",
    )
)
register_modality(Modality("thermal", to_levels=scale_thermal, stream=ThermalStream, augmentation="thermal"))
