# SPDX-License-Identifier: Apache-2.0
"""The moving average of the weights."""

import math

import pytest
import torch

from fusion_mamba_ros.training.ema import MovingAverage


def test_average_follows_the_ramped_decay() -> None:
    model = torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(model.weight)
    average = MovingAverage(model, decay=0.9, ramp=5)
    expected = 0.0
    for update in range(1, 8):
        torch.nn.init.constant_(model.weight, float(update))
        decay = 0.9 * (1 - math.exp(-update / 5))
        expected = decay * expected + (1 - decay) * update
        average.update(model)
        assert average.model.weight.item() == pytest.approx(expected, rel=1e-5)


def test_running_statistics_are_averaged_and_counters_copied() -> None:
    model = torch.nn.BatchNorm1d(1)
    average = MovingAverage(model, decay=0.5, ramp=1e-6)
    model(torch.tensor([[10.0], [20.0]]))
    average.update(model)
    assert average.model.running_mean is not None and average.model.num_batches_tracked is not None
    assert average.model.running_mean.item() == pytest.approx(0.5 * 0 + 0.5 * 1.5)
    assert average.model.num_batches_tracked.item() == 1
    assert not average.model.training
