# SPDX-License-Identifier: Apache-2.0
"""Runs of a trainer on tiny data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from fusion_mamba_ros.training.trainer import Events, Trainer
from fusion_mamba_ros.training.training_state import TrainingState


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch compute with one thread, so that sums have one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def events(save: Callable[[TrainingState], None] = lambda _: None, **others: Any) -> Events:
    return Events(**{"validate": lambda *_: {"fitness": 0.0}, "save": save, **others})


def assert_same(model: Trainer, other: Trainer) -> None:
    """Raise unless weights, averages and histories are equal to the last bit."""
    for mine, theirs in ((model.detector, other.detector), (model.average.model, other.average.model)):
        for (name, tensor), expected in zip(mine.state_dict().items(), theirs.state_dict().values(), strict=True):
            assert torch.equal(tensor, expected), name
    for epoch, same in zip(model.state.history, other.state.history, strict=True):
        assert {**epoch, "epoch_seconds": 0} == {**same, "epoch_seconds": 0}
