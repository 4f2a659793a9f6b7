# SPDX-License-Identifier: Apache-2.0
"""Learning rate and momentum over a run."""

import math

import pytest

from fusion_mamba_ros.training.schedule import Schedule


def schedule(kind: str = "linear", warmup: int = 0) -> Schedule:
    return Schedule(kind, 100, warmup, 0.01, 0.1, 0.937, 0.8, 0.1)


@pytest.mark.parametrize(("step", "share"), [(0, 1.0), (50, 0.55), (100, 0.1)])
def test_line_ends_at_the_final_fraction(step: int, share: float) -> None:
    assert schedule().rate(step) == pytest.approx(0.01 * share)


def test_cosine_is_half_way_in_the_middle() -> None:
    assert schedule("cosine").rate(50) == pytest.approx(0.01 * 0.55)
    assert schedule("cosine").rate(25) == pytest.approx(0.01 * (0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2))


def test_warm_up_raises_weights_lowers_biases_and_raises_momentum() -> None:
    warm = schedule(warmup=10)
    assert (warm.rate(0), warm.rate(0, bias=True), warm.momentum_at(0)) == (0.0, 0.1, 0.8)
    half = 0.01 * (0.1 + 0.9 * 0.95)
    assert warm.rate(5) == pytest.approx(half / 2)
    assert warm.rate(5, bias=True) == pytest.approx(0.1 + (half - 0.1) / 2)
    assert warm.momentum_at(5) == pytest.approx(0.8 + 0.137 / 2)
    assert (warm.rate(10), warm.momentum_at(10)) == (schedule().rate(10), 0.937)
