# SPDX-License-Identifier: Apache-2.0
"""Paired augmentation: a dataset's pair in, a changed pair at network size out."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..perception.letterbox import PADDING_LEVEL
from .augmentation_config import AugmentationConfig
from .copy_paste_augmentation import paste_objects
from .darkness_augmentation import darken
from .haze_augmentation import haze
from .large_misalignment import random_shift
from .noise_bank import NoiseBank
from .paired_geometry import (
    letterbox_matrix,
    mosaic_matrices,
    random_affine,
    random_misalignment,
    warp_boxes,
    warp_into,
)
from .prepared_dataset import prepare
from .problems import DatasetError, UnreadableImageError
from .rgb_augmentation import augment_rgb
from .sample import PairedSample
from .smoke_augmentation import smoke
from .thermal_augmentation import augment_thermal

log = logging.getLogger(__name__)


class Augmentation:
    """``augmentation(dataset, index, generator)`` returns one training pair at network size.

    Both pictures of the result have the network's size: ``rgb`` (H, W, 3) and ``thermal`` (H, W), uint8, a dropped or
    missing stream all zeros; boxes in network pixels. Everything random comes from ``generator``, so the same state
    gives the same pair. A pair whose picture cannot be decoded is replaced by another and counted in ``skipped``
    (name: reason), or refused with ``UnreadableImageError`` if ``refuse_unreadable``.
    """

    def __init__(self, config: AugmentationConfig, *, refuse_unreadable: bool = False) -> None:
        self.config = config
        self.refuse_unreadable = refuse_unreadable
        self.skipped: dict[str, str] = {}
        largest = 1 + config.multi_scale
        self._noise = NoiseBank((int(config.size[0] * largest) + 32, int(config.size[1] * largest) + 32))

    def draw_size(self, generator: np.random.Generator) -> tuple[int, int]:
        """Return a random network size (width, height) for one batch, in steps of 32 (``multi_scale``)."""
        factor = generator.uniform(1 - self.config.multi_scale, 1 + self.config.multi_scale)
        width, height = (max(32, round(side * factor / 32) * 32) for side in self.config.size)
        return width, height

    def __call__(
        self,
        dataset: Sequence[PairedSample],
        index: int,
        generator: np.random.Generator,
        *,
        size: tuple[int, int] | None = None,
        dropout: bool = True,
    ) -> PairedSample:
        """Return the pair at ``index``, changed; mosaics take their other three from the whole dataset.

        ``size`` (width, height) overrides the configuration's for this pair; without ``dropout`` it keeps both streams,
        whatever is drawn. Raises ``DatasetError`` if nothing in the dataset can be read.
        """
        size = size or self.config.size
        config = self.config
        first = self._read(dataset, index, generator)
        samples = [first]
        if generator.random() < config.mosaic_probability:
            samples += [
                self._read(dataset, int(other), generator) for other in generator.integers(len(dataset), size=3)
            ]
            placements = mosaic_matrices([sample.size for sample in samples], size, generator)
        else:
            placements = [letterbox_matrix(first.size, size)]
        if config.copy_paste_probability:
            samples = [self._with_pasted_objects(dataset, sample, generator) for sample in samples]
        affine = random_affine(config, size, generator)
        misalignment = random_misalignment(config, size, generator)
        if config.large_misalignment_probability and generator.random() < config.large_misalignment_probability:
            misalignment = random_shift(config.large_misalignment_px, generator) @ misalignment
        drawn = generator.random()
        drop_rgb = dropout and drawn < config.rgb_dropout
        drop_thermal = dropout and config.rgb_dropout <= drawn < config.rgb_dropout + config.thermal_dropout
        with_rgb = not drop_rgb and any(sample.rgb is not None for sample in samples)
        with_thermal = not drop_thermal and any(sample.thermal is not None for sample in samples)

        shape = (size[1], size[0])
        rgb = np.full((*shape, 3), PADDING_LEVEL, np.uint8) if with_rgb else np.zeros((*shape, 3), np.uint8)
        thermal = np.full(shape, PADDING_LEVEL, np.uint8) if with_thermal else np.zeros(shape, np.uint8)
        boxes, labels = [], []
        for sample, placement in zip(samples, placements, strict=True):
            matrix = affine @ placement
            if with_rgb and sample.rgb is not None:
                warp_into(rgb, sample.rgb, matrix)
            if with_thermal and sample.thermal is not None:
                warp_into(thermal, sample.thermal, misalignment @ matrix)  # type: ignore[arg-type]  # 8 bit once prepared
            mapped, keep = warp_boxes(sample.boxes, matrix, size, config)
            boxes.append(mapped[keep])
            labels.append(sample.labels[keep])
        return PairedSample(
            name=first.name,
            group=first.group,
            rgb=self._augment_rgb(rgb, generator) if with_rgb else rgb,
            thermal=augment_thermal(thermal, config, self._noise, generator) if with_thermal else thermal,
            boxes=np.concatenate(boxes),
            labels=np.concatenate(labels),
        )

    def _augment_rgb(self, image: npt.NDArray[np.uint8], generator: np.random.Generator) -> npt.NDArray[np.uint8]:
        config = self.config
        image = augment_rgb(image, config, self._noise, generator)
        # A change that is off draws no number, so that recipes without it keep their images.
        if config.haze_probability and generator.random() < config.haze_probability:
            image = haze(image, config.haze_contrast, generator)
        if config.smoke_probability and generator.random() < config.smoke_probability:
            image = smoke(image, config.smoke_contrast, generator)
        if config.darkness_probability and generator.random() < config.darkness_probability:
            image = darken(image, config.darkness_gain, self._noise, generator)
        return image

    def _with_pasted_objects(
        self, dataset: Sequence[PairedSample], sample: PairedSample, generator: np.random.Generator
    ) -> PairedSample:
        if generator.random() >= self.config.copy_paste_probability:
            return sample
        # An object of the night would stand in the day as a black box.
        groups = getattr(dataset, "groups", [sample.group] * len(dataset))
        donors = [index for index, group in enumerate(groups) if group == sample.group]
        donor = self._read(dataset, donors[int(generator.integers(len(donors)))], generator)
        return paste_objects(sample, donor, int(self.config.copy_paste_objects), generator)

    def _read(self, dataset: Sequence[PairedSample], index: int, generator: np.random.Generator) -> PairedSample:
        for _ in range(max(10, len(dataset))):
            try:
                return prepare(dataset[index])
            except UnreadableImageError as error:
                if self.refuse_unreadable:
                    raise
                name = getattr(dataset, "names", {index: str(index)})[index]
                if name not in self.skipped:
                    self.skipped[name] = str(error)
                    log.warning("%s: %s; another pair takes its place", name, error)
                index = int(generator.integers(len(dataset)))
        raise DatasetError(f"none of the pairs tried could be read; the last: {next(reversed(self.skipped.values()))}")
