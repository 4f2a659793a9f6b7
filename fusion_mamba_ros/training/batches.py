# SPDX-License-Identifier: Apache-2.0
"""Batches that depend on seed, epoch and position only, so that a run can resume at any batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fusion_mamba_ros.datasets import Augmentation, Sample
from fusion_mamba_ros.perception.modality import modality_named
from fusion_mamba_ros.perception.preprocessing import with_channels
from fusion_mamba_ros.training.epoch_selection import EpochSelection
from fusion_mamba_ros.training.loss import Targets


@dataclass(frozen=True)
class Batch:
    """A batch of training pairs.

    ``images``: modality name to (B, C, H, W) uint8. ``targets``: the objects, in pixels of the network input.
    ``absent``: modalities for which all images of the batch are missing or black.
    """

    images: dict[str, Tensor]
    targets: Targets
    absent: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.targets.labels)

    def inputs(self, device: torch.device, *, channels_last: bool) -> dict[str, Tensor]:
        """Return the images on ``device`` as network input, float32 in [0, 1]."""
        layout = torch.channels_last if channels_last else torch.contiguous_format
        # Transfer the images as bytes, a quarter of the size, and convert them to float on the device.
        return {
            name: image.to(device, non_blocking=True).to(torch.float32, memory_format=layout).div_(255.0)
            for name, image in self.images.items()
        }


def collate(samples: Sequence[Sample], modalities: Mapping[str, int]) -> Batch:
    """Return samples of the same size as a batch.

    ``modalities``: modality name to the number of channels that the model expects. A grey image is repeated in all
    channels of a colour input; a colour image is converted to grey for a grey input. A sample without an image of a
    modality gets the same replacement as in inference.
    """
    images = {}
    width, height = samples[0].size
    for name, channels in modalities.items():
        missing = modality_named(name).missing(height, width, channels)
        batch = np.stack(
            [with_channels(sample.images[name], channels) if name in sample.images else missing for sample in samples]
        )
        images[name] = torch.from_numpy(batch).permute(0, 3, 1, 2)
    most = max(len(sample.labels) for sample in samples)
    targets = Targets(
        torch.zeros(len(samples), most, dtype=torch.int64),
        torch.zeros(len(samples), most, 4),
        torch.zeros(len(samples), most, dtype=torch.bool),
    )
    for index, sample in enumerate(samples):
        count = len(sample.labels)
        targets.labels[index, :count] = torch.from_numpy(sample.labels)
        targets.boxes[index, :count] = torch.from_numpy(sample.boxes)
        targets.valid[index, :count] = True
    return Batch(images, replace(targets, labelled=_labelled(samples)), _absent(samples, modalities))


def _labelled(samples: Sequence[Sample]) -> Tensor | None:
    """Return which classes are labelled in each sample, (B, classes), or None if all are."""
    known = [sample.labelled for sample in samples if sample.labelled is not None]
    if not known:
        return None
    everything = np.ones_like(known[0])
    rows = [everything if sample.labelled is None else sample.labelled for sample in samples]
    return torch.from_numpy(np.stack(rows))


def _absent(samples: Sequence[Sample], modalities: Iterable[str]) -> tuple[str, ...]:
    """Return the modalities for which every sample has no image or a black one."""
    return tuple(
        name
        for name in modalities
        if not any(name in sample.images and sample.images[name].any() for sample in samples)
    )


class EpochBatches(Dataset[Batch]):
    """The part of the batches of one epoch that belongs to one process.

    Order and augmentation depend on ``seed``, ``epoch`` and the position in the epoch only. So a batch does not depend
    on the number of workers, the number of processes or the batch at which a run resumes. There is one exception: if
    dropout would remove the same modality from all pairs in a process's part of a batch, its first pair gets no
    dropout. ``selection`` chooses the pairs of each epoch; None: all pairs.
    """

    def __init__(
        self,
        dataset: Sequence[Sample],
        augmentation: Augmentation,
        modalities: Mapping[str, int],
        *,
        batch_size: int,
        seed: int,
        epoch: int,
        rank: int = 0,
        processes: int = 1,
        selection: EpochSelection | None = None,
    ):
        self.dataset, self.augmentation, self.modalities = dataset, augmentation, dict(modalities)
        self.batch_size, self.seed, self.epoch, self.rank, self.processes = batch_size, seed, epoch, rank, processes
        chosen = len(dataset) if selection is None else selection.indices(epoch)
        self.order = np.random.default_rng((seed, epoch)).permutation(chosen)
        # All processes need equally many pairs, so the pairs that remain after even division are left out this epoch.
        self.order = self.order[: len(self.order) - len(self.order) % processes]

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, number: int) -> Batch:
        positions = range(number * self.batch_size, min((number + 1) * self.batch_size, len(self.order)))
        size = self.augmentation.draw_size(np.random.default_rng((self.seed, self.epoch, 1, number)))
        own = positions[self.rank :: self.processes]
        samples = [self._sample(position, size) for position in own]
        # A stream that dropout removes from the whole batch would learn nothing from it.
        if self.augmentation.config.modality_dropout and _absent(samples, self.modalities):
            samples[0] = self._sample(own[0], size, dropout=False)
        return collate(samples, self.modalities)

    def _sample(self, position: int, size: tuple[int, int], *, dropout: bool = True) -> Sample:
        generator = np.random.default_rng((self.seed, self.epoch, 0, position))
        return self.augmentation(self.dataset, int(self.order[position]), generator, size=size, dropout=dropout)


def load(batches: EpochBatches, *, first: int = 0, workers: int = 0) -> DataLoader[Batch]:
    """Return an iterable over the batches from number ``first`` on; ``workers`` processes prepare them."""
    return DataLoader(
        batches,
        batch_size=None,
        sampler=range(first, len(batches)),
        num_workers=workers,
        collate_fn=_as_it_is,
        worker_init_fn=_use_one_thread,
        multiprocessing_context="fork" if workers else None,
    )


def _as_it_is(batch: Any) -> Any:
    return batch


def _use_one_thread(_: int) -> None:
    import cv2

    cv2.setNumThreads(0)
    torch.set_num_threads(1)
