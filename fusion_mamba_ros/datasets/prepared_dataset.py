# SPDX-License-Identifier: Apache-2.0
"""Pairs ready for augmentation: thermal scaled to 8 bit and brought to RGB's size, both kept small in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from ..perception.registration import warp_to_rgb_view
from ..perception.thermal_scaling import ThermalScaling, scale_thermal
from .paired_dataset import PairedDataset
from .problems import UnreadableImageError
from .sample import PairedSample

DEFAULT_SCALING = ThermalScaling()


def prepare(
    sample: PairedSample, scaling: ThermalScaling = DEFAULT_SCALING, fit: tuple[int, int] | None = None
) -> PairedSample:
    """Return the sample with thermal uint8 as RGB sees it; if larger, both shrunk to fill ``fit`` (width, height).

    A sample that is so already comes back as it is. ``scaling`` is that of the camera: of black-hot pictures, of 8 bits
    too, the result is white-hot, so prepare them once only.
    """
    width, height = sample.size
    shrink = 1.0 if fit is None else min(1.0, max(fit[0] / width, fit[1] / height))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    thermal = sample.thermal
    grey = thermal is None or (thermal.dtype == np.uint8 and scaling.polarity == "white_hot")
    ready = grey and (thermal is None or (thermal.shape == (height, width) and sample.homography is None))
    if ready and size == (width, height):
        return sample
    boxes = sample.boxes * np.array([size[0] / width, size[1] / height] * 2, np.float32)
    return replace(
        sample,
        rgb=None if sample.rgb is None else _resize(sample.rgb, size),
        thermal=None if thermal is None else _as_rgb_sees_it(scale_thermal(thermal, scaling), sample, size),
        boxes=boxes,
        homography=None,
    )


class PreparedDataset(Sequence[PairedSample]):
    """A dataset whose pairs are prepared for one network size and kept in memory once read.

    Pictures are stored at up to ``headroom`` times the scale at which they fill ``size``, so that a warp to network
    size never starts from full resolution; None: at their own size. Memory stops growing at ``limit_bytes``; pairs
    beyond it are read again each time. ``class_names``, ``names`` and ``groups`` are those of the dataset.
    """

    def __init__(
        self,
        dataset: PairedDataset,
        size: tuple[int, int],
        *,
        scaling: ThermalScaling = DEFAULT_SCALING,
        headroom: float | None = 1.25,
        limit_bytes: int = 4 << 30,
    ) -> None:
        self.dataset = dataset
        self.class_names, self.names, self.groups = dataset.class_names, dataset.names, dataset.groups
        self.scaling = scaling
        self.limit_bytes = limit_bytes
        self.cached_bytes = 0
        self._fit = None if headroom is None else (round(size[0] * headroom), round(size[1] * headroom))
        self._cache: dict[int, PairedSample] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> PairedSample:  # type: ignore[override]  # slices are not offered
        cached = self._cache.get(index)
        if cached is not None:
            return cached
        sample = prepare(self.dataset[index], self.scaling, self._fit)
        sample_bytes = sum(image.nbytes for image in (sample.rgb, sample.thermal) if image is not None)
        if self.cached_bytes + sample_bytes <= self.limit_bytes:
            self._cache[index] = sample
            self.cached_bytes += sample_bytes
        return sample

    def preload(self, on_progress: Callable[[int], None] = lambda count: None) -> dict[str, str]:
        """Read all pairs into memory and return those that cannot be read (name: reason).

        Before worker processes are forked, so that they share the memory. ``on_progress`` gets the count read so far.
        """
        unreadable: dict[str, str] = {}
        for index, name in enumerate(self.names):
            try:
                self[index]
            except UnreadableImageError as error:
                unreadable[name] = str(error)
            on_progress(index + 1)
        return unreadable


def _as_rgb_sees_it(
    thermal: npt.NDArray[np.uint8], sample: PairedSample, size: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    if sample.homography is None or sample.rgb is None:
        return _resize(thermal, size)
    return warp_to_rgb_view(thermal, sample.homography, size)


def _resize(image: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    if (image.shape[1], image.shape[0]) == size:
        return image
    shrinking = image.shape[1] > size[0]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
