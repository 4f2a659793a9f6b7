# SPDX-License-Identifier: Apache-2.0
"""Augment the samples (pairs) of a dataset and resize them to the network's input size."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.datasets.augmentation_config import AugmentationConfig
from fusion_mamba_ros.datasets.copy_paste_augmentation import paste_objects
from fusion_mamba_ros.datasets.darkness_augmentation import darken
from fusion_mamba_ros.datasets.haze_augmentation import haze
from fusion_mamba_ros.datasets.large_misalignment import random_shift
from fusion_mamba_ros.datasets.native_crop import random_crop
from fusion_mamba_ros.datasets.noise_bank import NoiseBank
from fusion_mamba_ros.datasets.paired_geometry import (
    letterbox_matrix,
    mosaic_matrices,
    random_affine,
    random_misalignment,
    warp_boxes,
    warp_into,
)
from fusion_mamba_ros.datasets.prepared_dataset import prepare
from fusion_mamba_ros.datasets.problems import DatasetError, UnreadableImageError
from fusion_mamba_ros.datasets.rgb_augmentation import augment_rgb
from fusion_mamba_ros.datasets.sample import Sample
from fusion_mamba_ros.datasets.smoke_augmentation import smoke
from fusion_mamba_ros.datasets.thermal_augmentation import augment_thermal
from fusion_mamba_ros.perception.letterbox import PADDING_LEVEL
from fusion_mamba_ros.perception.modality import in_order, modality_named

log = logging.getLogger(__name__)

Augment = Callable[[npt.NDArray[np.uint8], AugmentationConfig, NoiseBank, np.random.Generator], npt.NDArray[np.uint8]]


def _augment_and_blind_rgb(
    image: npt.NDArray[np.uint8], config: AugmentationConfig, noise: NoiseBank, generator: np.random.Generator
) -> npt.NDArray[np.uint8]:
    image = augment_rgb(image, config, noise, generator)
    # Draw no number for an augmentation that is off: the random sequence of older recipes stays the same.
    if config.haze_probability and generator.random() < config.haze_probability:
        image = haze(image, config.haze_contrast, generator)
    if config.smoke_probability and generator.random() < config.smoke_probability:
        image = smoke(image, config.smoke_contrast, generator)
    if config.darkness_probability and generator.random() < config.darkness_probability:
        image = darken(image, config.darkness_gain, noise, generator)
    return image


# Augmentations by the name in `Modality.augmentation`.
AUGMENTATIONS: dict[str, Augment] = {
    "none": lambda image, config, noise, generator: image,
    "rgb": _augment_and_blind_rgb,
    "thermal": augment_thermal,
}


class Augmentation:
    """Return training pairs at network size: ``augmentation(dataset, index, generator)``.

    The images of the result are uint8 and have the network's size, for example ``rgb`` (H, W, 3) and ``thermal``
    (H, W). A modality is missing if it was dropped or if none of the source pairs has it. Boxes are in network pixels.
    All random numbers come from ``generator``, so the same state gives the same pair.

    A pair with an image that cannot be decoded is replaced by another pair and recorded in ``skipped`` (name: reason).
    With ``refuse_unreadable``, ``UnreadableImageError`` is raised instead. ``modalities`` are the inputs of the model,
    None for all. Dropout keeps at least one of them. Objects that none of them shows are removed.
    """

    def __init__(
        self,
        config: AugmentationConfig,
        *,
        modalities: Collection[str] | None = None,
        refuse_unreadable: bool = False,
    ) -> None:
        self.config = config
        self.modalities = None if modalities is None else frozenset(modalities)
        self.refuse_unreadable = refuse_unreadable
        self.skipped: dict[str, str] = {}
        self._partners_in: Sequence[Sample] | None = None
        self._partners_of: dict[frozenset[str], list[int]] = {}
        largest = 1 + config.multi_scale
        self._noise = NoiseBank((int(config.size[0] * largest) + 32, int(config.size[1] * largest) + 32))

    def draw_size(self, generator: np.random.Generator) -> tuple[int, int]:
        """Return a random network size (width, height) for one batch, in steps of 32 (``multi_scale``)."""
        factor = generator.uniform(1 - self.config.multi_scale, 1 + self.config.multi_scale)
        width, height = (max(32, round(side * factor / 32) * 32) for side in self.config.size)
        return width, height

    def __call__(
        self,
        dataset: Sequence[Sample],
        index: int,
        generator: np.random.Generator,
        *,
        size: tuple[int, int] | None = None,
        dropout: bool = True,
    ) -> Sample:
        """Return the augmented pair at ``index``. A mosaic adds three random pairs of the dataset.

        ``size`` (width, height) overrides the size of the configuration. If ``dropout`` is False, no modality is
        dropped, but the same random numbers are drawn. Raises ``DatasetError`` if no pair can be read.
        """
        size = size or self.config.size
        config = self.config
        first = self._part(self._read(dataset, index, generator), size, generator)
        samples = [first]
        if generator.random() < config.mosaic_probability:
            partners = self._partners(dataset, first)
            samples += [
                self._part(self._read(dataset, int(partners[other]), generator), size, generator)
                for other in generator.integers(len(partners), size=3)
            ]
            placements = mosaic_matrices([sample.size for sample in samples], size, generator)
        else:
            placements = [letterbox_matrix(first.size, size)]
        if config.copy_paste_probability:
            samples = [self._with_pasted_objects(dataset, sample, generator) for sample in samples]
        affine = random_affine(config, size, generator)
        present = in_order({name for sample in samples for name in sample.images})
        registered = [name for name in present if modality_named(name).registered]
        misalignments = {name: self._misalignment(size, generator) for name in registered}
        drawn = generator.random()
        dropped = self._dropped(drawn) if dropout else frozenset()
        kept = [name for name in present if name not in dropped]
        if not self._seen(kept):
            kept = list(present)

        canvases = {name: _empty_canvas(name, size) for name in kept}
        boxes, labels = [], []
        for sample, placement in zip(samples, placements, strict=True):
            matrix = affine @ placement
            shown = [name for name in kept if name in sample.images]
            for name in shown:
                # The boxes belong to the reference image, so it gets no misalignment.
                moved = name in misalignments and name != sample.reference
                warp_into(canvases[name], sample.images[name], misalignments[name] @ matrix if moved else matrix)
            mapped, keep = warp_boxes(sample.boxes, matrix, size, config)
            # Remove the objects of a sample if the model sees none of its images.
            keep &= self._seen(shown)
            boxes.append(mapped[keep])
            labels.append(sample.labels[keep])
        return Sample(
            name=first.name,
            group=first.group,
            images={name: self._recoloured(name, canvas, generator) for name, canvas in canvases.items()},
            boxes=np.concatenate(boxes),
            labels=np.concatenate(labels),
            labelled=_labelled_in_all(samples),
        )

    def _part(self, sample: Sample, size: tuple[int, int], generator: np.random.Generator) -> Sample:
        probability = self.config.native_crop_probability
        if not probability or generator.random() >= probability:
            return sample
        return random_crop(sample, size, self.config.minimum_visibility, generator)

    def _partners(self, dataset: Sequence[Sample], first: Sample) -> Sequence[int]:
        """Return the indices of the pairs from which a mosaic with ``first`` may be made.

        The model sees the same modalities of all of them. Otherwise a mosaic with a thermal-only image would show
        objects of which one camera sees nothing, at a place where it looks as if there were none.
        """
        sets = getattr(dataset, "modalities_of_each", None)
        if sets is None:
            return range(len(dataset))
        if self._partners_in is not dataset:
            groups: dict[frozenset[str], list[int]] = {}
            for index, names in enumerate(sets):
                groups.setdefault(self._visible(names), []).append(index)
            self._partners_in, self._partners_of = dataset, groups
        return self._partners_of.get(self._visible(first.images), range(len(dataset)))

    def _visible(self, names: Collection[str]) -> frozenset[str]:
        return frozenset(names) if self.modalities is None else self.modalities.intersection(names)

    def _misalignment(self, size: tuple[int, int], generator: np.random.Generator) -> npt.NDArray[np.float64]:
        config = self.config
        misalignment = random_misalignment(config, size, generator)
        if config.large_misalignment_probability and generator.random() < config.large_misalignment_probability:
            misalignment = random_shift(config.large_misalignment_px, generator) @ misalignment
        return misalignment

    def _with_pasted_objects(self, dataset: Sequence[Sample], sample: Sample, generator: np.random.Generator) -> Sample:
        if generator.random() >= self.config.copy_paste_probability:
            return sample
        # Paste within one group only: an object from a night image would look like a black box in a day image.
        groups = getattr(dataset, "groups", [sample.group] * len(dataset))
        donors = [index for index, group in enumerate(groups) if group == sample.group]
        donor = self._read(dataset, donors[int(generator.integers(len(donors)))], generator)
        return paste_objects(sample, donor, int(self.config.copy_paste_objects), generator)

    def _seen(self, names: Collection[str]) -> bool:
        """Return whether the model sees one of the images ``names``."""
        return bool(names) if self.modalities is None else not self.modalities.isdisjoint(names)

    def _dropped(self, drawn: float) -> frozenset[str]:
        """Return the modalities to drop for ``drawn``, a random number from [0, 1)."""
        upper = 0.0
        for names, probability in self.config.modality_dropout.items():
            upper += probability
            if drawn < upper:
                return frozenset(names.split("+"))
        return frozenset()

    def _recoloured(
        self, name: str, canvas: npt.NDArray[np.uint8], generator: np.random.Generator
    ) -> npt.NDArray[np.uint8]:
        augment = modality_named(name).augmentation
        if not isinstance(augment, str):
            return augment(canvas, self.config, self._noise, generator)
        if augment not in AUGMENTATIONS:
            raise ValueError(f"augmentation of modality {name} is {augment!r}: use {', '.join(AUGMENTATIONS)}")
        return AUGMENTATIONS[augment](canvas, self.config, self._noise, generator)

    def _read(self, dataset: Sequence[Sample], index: int, generator: np.random.Generator) -> Sample:
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


def _empty_canvas(name: str, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    depth = (3,) if modality_named(name).channels == 3 else ()
    return np.full((size[1], size[0], *depth), PADDING_LEVEL, np.uint8)


def _labelled_in_all(samples: Sequence[Sample]) -> npt.NDArray[np.bool_] | None:
    """Return for each class whether it is labelled in all of ``samples``, or None if all classes are."""
    masks = [sample.labelled for sample in samples if sample.labelled is not None]
    return np.logical_and.reduce(masks) if masks else None
