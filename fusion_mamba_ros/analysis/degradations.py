# SPDX-License-Identifier: Apache-2.0
"""Degrade the images of a pair by one factor at a given level, the same way for the same pair and seed.

The random parts (direction of a shift, clouds, noise) depend on the seed, the factor and the name of the pair, not on
the level. So the levels of a factor differ in strength alone. Level 0 returns the pair itself.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.datasets.darkness_augmentation import with_light
from fusion_mamba_ros.datasets.haze_augmentation import haze_of
from fusion_mamba_ros.datasets.large_misalignment import shift
from fusion_mamba_ros.datasets.paired_geometry import about_centre, rotation_and_zoom, warp_into
from fusion_mamba_ros.datasets.sample import Sample
from fusion_mamba_ros.datasets.smoke_augmentation import GREY, cloud_field, smoke_of
from fusion_mamba_ros.datasets.thermal_augmentation import contrast_table, with_pattern
from fusion_mamba_ros.perception.letterbox import PADDING_LEVEL

Image = npt.NDArray[np.uint8]
Change = Callable[[Image, float, np.random.Generator], "Image | None"]

# Standard deviation of the sensor noise without light, in grey levels: the middle of what the augmentation draws.
DARK_NOISE = 4.5
# Contrast that the thickest smoke leaves.
SMOKE_CONTRAST = 0.05
# Deviation of the row and column offsets of thermal noise, relative to that of the pixels.
PATTERN_SHARE = 0.5


@dataclass(frozen=True)
class Factor:
    """One way in which a pair gets worse.

    ``modality``: the image that changes. ``levels``: the levels above 0 that a study measures, ascending, in ``unit``.
    ``most``: the largest level that has a meaning, None for no limit. ``change`` returns the image (H, W) or (H, W, 3)
    uint8 at a level above 0, or None if it is missing.
    """

    name: str
    modality: str
    unit: str
    levels: tuple[float, ...]
    description: str
    change: Change
    most: float | None = None

    def check(self, level: float) -> None:
        """Raise ``ValueError`` if the factor has no such level."""
        if not 0 <= level <= (np.inf if self.most is None else self.most) or not np.isfinite(level):
            limit = "0 or more" if self.most is None else f"0 to {self.most:g}"
            raise ValueError(f"level {level:g} of {self.name}: give {limit} ({self.unit})")


def degrade(sample: Sample, steps: Sequence[tuple[Factor, float]], seed: int) -> dict[str, Image]:
    """Return the images of ``sample`` after each step (factor, level); a missing image has no entry.

    The sample must be prepared: 8-bit images of one size. An image that no step changes is the same object as before.
    """
    images = dict(sample.images)
    for factor, level in steps:
        factor.check(level)
        if level == 0 or factor.modality not in images:
            continue
        words = (seed, zlib.crc32(factor.name.encode()), zlib.crc32(sample.name.encode()))
        changed = factor.change(images[factor.modality], level, np.random.default_rng(words))
        if changed is None:
            del images[factor.modality]
        else:
            images[factor.modality] = changed
    return images


def _moved(image: Image, linear: npt.NDArray[np.float64], offset: npt.NDArray[np.float64]) -> Image:
    """Return the image, transformed about its centre; what it does not cover has the grey of the letterbox."""
    canvas = np.full_like(image, PADDING_LEVEL)
    warp_into(canvas, image, about_centre(linear, offset, (image.shape[1], image.shape[0])))
    return canvas


def _shift(image: Image, level: float, generator: np.random.Generator) -> Image:
    offset = shift(level, generator.uniform(0.0, 2 * np.pi))[:2, 2]
    return _moved(image, np.eye(2), offset)


def _rotate(image: Image, level: float, generator: np.random.Generator) -> Image:
    return _moved(image, rotation_and_zoom(level * generator.choice((-1, 1)), 1.0), np.zeros(2))


def _zoom(image: Image, level: float, generator: np.random.Generator) -> Image:
    factor = 1 + level / 100
    return _moved(image, rotation_and_zoom(0.0, factor if generator.random() < 0.5 else 1 / factor), np.zeros(2))


def _noise(image: Image, generator: np.random.Generator) -> npt.NDArray[np.float32]:
    return generator.standard_normal(image.shape[:2], np.float32)


def _darken(image: Image, level: float, generator: np.random.Generator) -> Image:
    gain = 2.0**-level
    return with_light(image, gain, _noise(image, generator) * np.float32(DARK_NOISE * (1 - gain)))


def _haze(image: Image, level: float, generator: np.random.Generator) -> Image:
    return haze_of(image, 1 - level / 100, generator)


def _smoke(image: Image, level: float, generator: np.random.Generator) -> Image:
    clouds = cloud_field((image.shape[0], image.shape[1]), generator)
    return smoke_of(image, clouds, level / 50 - 1, SMOKE_CONTRAST, generator.uniform(*GREY))


def _rgb_noise(image: Image, level: float, generator: np.random.Generator) -> Image:
    return with_light(image, 1.0, _noise(image, generator) * np.float32(level))


def _less_contrast(image: Image, level: float, generator: np.random.Generator) -> Image:
    table = contrast_table(cv2.mean(image)[0], 1 - level / 100)
    return np.asarray(cv2.LUT(image, np.rint(table).astype(np.uint8)), np.uint8)


def _thermal_noise(image: Image, level: float, generator: np.random.Generator) -> Image:
    noisy = image + _noise(image, generator) * np.float32(level)
    deviation = np.float32(PATTERN_SHARE * level)
    rows: npt.NDArray[np.float32] = generator.standard_normal((image.shape[0],), np.float32) * deviation
    columns: npt.NDArray[np.float32] = generator.standard_normal((image.shape[1],), np.float32) * deviation
    return with_pattern(noisy, rows, columns)


def _drop(image: Image, level: float, generator: np.random.Generator) -> Image | None:
    return None if 100 * generator.random() < level else image


_ALL = (
    Factor("misalignment", "thermal", "px", (2, 5, 10, 15, 20, 30), "thermal shifted in a random direction", _shift),
    Factor("rotation", "thermal", "°", (1, 2, 4, 8), "thermal rotated about its centre, either way", _rotate),
    Factor("zoom", "thermal", "%", (2, 5, 10, 20), "thermal enlarged or reduced about its centre", _zoom),
    Factor(
        "darkness",
        "rgb",
        "stops",
        (1, 2, 3, 4, 6),
        f"RGB times 2^-level, with noise of up to {DARK_NOISE} grey levels",
        _darken,
    ),
    Factor("haze", "rgb", "%", (50, 80, 90, 95), "contrast lost in the top row of RGB, less below", _haze, most=100),
    Factor(
        "smoke",
        "rgb",
        "%",
        (30, 50, 70, 100),
        f"fill of RGB with smoke clouds; 100: {100 * SMOKE_CONTRAST:g} % of the contrast is left everywhere",
        _smoke,
        most=100,
    ),
    Factor("rgb_noise", "rgb", "grey levels", (10, 20, 40, 80), "standard deviation of the noise of RGB", _rgb_noise),
    Factor(
        "thermal_contrast",
        "thermal",
        "%",
        (50, 80, 90, 95),
        "contrast lost about the mean of thermal, rounded to 8 bits",
        _less_contrast,
        most=100,
    ),
    Factor(
        "thermal_noise",
        "thermal",
        "grey levels",
        (10, 20, 40, 80),
        "standard deviation of the noise of thermal; rows and columns have offsets of half of it",
        _thermal_noise,
    ),
    Factor("rgb_missing", "rgb", "% of pairs", (25, 50, 75, 100), "pairs without RGB image", _drop, most=100),
    Factor(
        "thermal_missing", "thermal", "% of pairs", (25, 50, 75, 100), "pairs without thermal image", _drop, most=100
    ),
)
FACTORS: dict[str, Factor] = {factor.name: factor for factor in _ALL}
"""The factors by name, in the order of a report."""


def factor_named(name: str) -> Factor:
    """Return the factor with this name. Raises ``ValueError`` if there is none."""
    if name not in FACTORS:
        raise ValueError(f"factor {name!r} is not known: choose {', '.join(FACTORS)}")
    return FACTORS[name]


def with_levels(factor: Factor, levels: Sequence[float]) -> Factor:
    """Return the factor with other levels, sorted, without 0. Raises ``ValueError`` if one is out of range."""
    for level in levels:
        factor.check(level)
    return replace(factor, levels=tuple(sorted({float(level) for level in levels if level})))
