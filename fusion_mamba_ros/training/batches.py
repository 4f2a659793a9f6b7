# SPDX-License-Identifier: Apache-2.0
"""Batches whose content depends on seed, epoch and position alone: any run can be entered anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fusion_mamba_ros.datasets import Augmentation, Sample
from fusion_mamba_ros.perception.modality import modality_named
from fusion_mamba_ros.perception.preprocessing import with_channels
from fusion_mamba_ros.training.loss import Targets


@dataclass(frozen=True)
class Batch:
    """``images``: modality name to (B, C, H, W) uint8; ``targets``: their objects in network pixels.

    ``absent``: modalities of which no pair of the batch has an image, or a black one only.
    """

    images: dict[str, Tensor]
    targets: Targets
    absent: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.targets.labels)

    def inputs(self, device: torch.device, *, channels_last: bool) -> dict[str, Tensor]:
        """Return the images on ``device`` as the network takes them, float32 in [0, 1]."""
        layout = torch.channels_last if channels_last else torch.contiguous_format
        # Bytes travel, floats are made at the destination.
        return {
            name: image.to(device, non_blocking=True).to(torch.float32, memory_format=layout).div_(255.0)
            for name, image in self.images.items()
        }


def collate(samples: Sequence[Sample], modalities: Mapping[str, int]) -> Batch:
    """Return samples of one size as a batch; for a stem of other channels, grey is repeated and colour becomes grey.

    A sample that lacks a modality gets what inference takes in place of a missing image.
    """
    images = {}
    width, height = samples[0].size
    for name, channels in modalities.items():
        missing = modality_named(name).missing(height, width, channels)
        pictures = np.stack(
            [with_channels(sample.images[name], channels) if name in sample.images else missing for sample in samples]
        )
        images[name] = torch.from_numpy(pictures).permute(0, 3, 1, 2)
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
    return Batch(images, targets, _absent(samples, modalities))


def _absent(samples: Sequence[Sample], modalities: Iterable[str]) -> tuple[str, ...]:
    """Return the modalities of which no sample has an image that shows anything."""
    return tuple(
        name
        for name in modalities
        if not any(name in sample.images and sample.images[name].any() for sample in samples)
    )


class EpochBatches(Dataset[Batch]):
    """The batches of one epoch, those of one process of several.

    Order and augmentation follow from ``seed``, ``epoch`` and the position in the epoch, so a batch is the same however
    many workers prepare it, wherever the epoch is entered and over however many processes it is split. One exception:
    where all pairs of a process's part would drop the same stream, its first pair keeps all.
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
    ):
        self.dataset, self.augmentation, self.modalities = dataset, augmentation, dict(modalities)
        self.batch_size, self.seed, self.epoch, self.rank, self.processes = batch_size, seed, epoch, rank, processes
        self.order = np.random.default_rng((seed, epoch)).permutation(len(dataset))
        # Every process needs a part of the last batch as well; what cannot be shared out evenly waits an epoch.
        self.order = self.order[: len(dataset) - len(dataset) % processes]

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, number: int) -> Batch:
        positions = range(number * self.batch_size, min((number + 1) * self.batch_size, len(self.order)))
        size = self.augmentation.draw_size(np.random.default_rng((self.seed, self.epoch, 1, number)))
        own = positions[self.rank :: self.processes]
        samples = [self._sample(position, size) for position in own]
        # A stream that dropout alone takes away from the whole batch learns nothing from it.
        if self.augmentation.config.modality_dropout and _absent(samples, self.modalities):
            samples[0] = self._sample(own[0], size, dropout=False)
        return collate(samples, self.modalities)

    def _sample(self, position: int, size: tuple[int, int], *, dropout: bool = True) -> Sample:
        generator = np.random.default_rng((self.seed, self.epoch, 0, position))
        return self.augmentation(self.dataset, int(self.order[position]), generator, size=size, dropout=dropout)


def load(batches: EpochBatches, *, first: int = 0, workers: int = 0) -> DataLoader[Batch]:
    """Return an iterable over the batches from number ``first`` on, prepared by ``workers`` processes."""
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
