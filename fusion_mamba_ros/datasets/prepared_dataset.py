# SPDX-License-Identifier: Apache-2.0
"""Prepare pairs for augmentation: 8-bit images, all at the size of the reference image, cached in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.datasets.paired_dataset import PairedDataset
from fusion_mamba_ros.datasets.problems import UnreadableImageError
from fusion_mamba_ros.datasets.sample import Sample
from fusion_mamba_ros.perception.letterbox import size_of
from fusion_mamba_ros.perception.modality import modality_named
from fusion_mamba_ros.perception.registration import relative_homographies, warp_to_rgb_view
from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling

DEFAULT_SCALING = ThermalScaling()
DEFAULT_HEADROOM = 1.25


def prepare(sample: Sample, scaling: ThermalScaling = DEFAULT_SCALING, fit: tuple[int, int] | None = None) -> Sample:
    """Return the sample with 8-bit images, all registered to the reference image.

    If the reference image is larger than ``fit`` (width, height), all images are shrunk so that they still fill it. A
    sample that is already prepared is returned unchanged. ``scaling`` describes the thermal camera. Black-hot images,
    also those of 8 bits, are converted to white-hot. Therefore prepare black-hot images only once.
    """
    width, height = sample.size
    shrink = 1.0 if fit is None else min(1.0, max(fit[0] / width, fit[1] / height))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    levels = {name: modality_named(name).levels(image, scaling) for name, image in sample.images.items()}
    homographies = relative_homographies(sample.reference, sample.homographies, sample.images)
    ready = all(levels[name] is image and size_of(image) == (width, height) for name, image in sample.images.items())
    if ready and size == (width, height) and not sample.homographies:
        return sample
    boxes = sample.boxes * np.array([size[0] / width, size[1] / height] * 2, np.float32)
    return replace(
        sample,
        images={
            name: warp_to_rgb_view(image, homographies[name], size) if name in homographies else _resize(image, size)
            for name, image in levels.items()
        },
        boxes=boxes,
        homographies={},
    )


class PreparedDataset(Sequence[Sample]):
    """A dataset that prepares its pairs for one network size and caches them in memory.

    Images are stored at up to ``headroom`` times the scale at which they fill ``size``, so that warping to network size
    does not start from full resolution. If ``headroom`` is None, they are stored at their own size. The cache grows up
    to ``limit_bytes``. Pairs beyond this limit are read again each time. ``class_names``, ``names``, ``groups``,
    ``sources`` and ``modalities_of_each`` are those of the dataset.
    """

    def __init__(
        self,
        dataset: PairedDataset,
        size: tuple[int, int],
        *,
        scaling: ThermalScaling = DEFAULT_SCALING,
        headroom: float | None = DEFAULT_HEADROOM,
        limit_bytes: int = 4 << 30,
    ) -> None:
        self.dataset = dataset
        self.class_names, self.names, self.groups = dataset.class_names, dataset.names, dataset.groups
        self.modalities_of_each, self.sources = dataset.modalities_of_each, dataset.sources
        self.scaling = scaling
        self.limit_bytes = limit_bytes
        self.cached_bytes = 0
        self._fit = None if headroom is None else (round(size[0] * headroom), round(size[1] * headroom))
        self._cache: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]  # slices are not supported
        cached = self._cache.get(index)
        if cached is not None:
            return cached
        sample = prepare(self.dataset[index], self.scaling, self._fit)
        sample_bytes = sum(image.nbytes for image in sample.images.values())
        if self.cached_bytes + sample_bytes <= self.limit_bytes:
            self._cache[index] = sample
            self.cached_bytes += sample_bytes
        return sample

    def preload(self, on_progress: Callable[[int], None] = lambda count: None) -> dict[str, str]:
        """Read all pairs into memory and return the unreadable pairs (name: reason).

        Call it before worker processes are forked, so that they share the memory. ``on_progress`` is called with the
        number of pairs read so far.
        """
        unreadable: dict[str, str] = {}
        for index, name in enumerate(self.names):
            try:
                self[index]
            except UnreadableImageError as error:
                unreadable[name] = str(error)
            on_progress(index + 1)
        return unreadable


def _resize(image: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    if size_of(image) == size:
        return image
    shrinking = image.shape[1] > size[0]
    resized: npt.NDArray[np.uint8] = cv2.resize(
        image, size, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    )
    return resized
