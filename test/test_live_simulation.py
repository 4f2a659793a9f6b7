# SPDX-License-Identifier: Apache-2.0
"""Simulation of a live node: which results it drops and how late the others are."""

from __future__ import annotations

import numpy as np
import pytest

from fusion_mamba_ros.evaluation.bag_evaluation.live_simulation import simulate_live

MS = 1_000_000


def test_a_fast_node_drops_nothing() -> None:
    run = simulate_live([0, 100 * MS, 200 * MS], [50, 50, 50])
    assert not run.dropped.any() and run.delay_ms.tolist() == [50, 50, 50]


def test_while_a_result_is_computed_only_the_newest_waits() -> None:
    # Computed: 0 (0 to 250), then 2 (waits from 200, 250 to 500), then 4 (500 to 750; 3 came at 300 and was replaced).
    run = simulate_live([0, 100 * MS, 200 * MS, 300 * MS, 400 * MS], [250] * 5)
    assert run.dropped.tolist() == [False, True, False, True, False]
    assert run.delay_ms.tolist() == [250, 300, 350]


def test_twice_the_speed_halves_the_time_between_the_arrivals() -> None:
    times = [index * 100 * MS for index in range(20)]
    assert not simulate_live(times, [90] * 20).dropped.any()
    assert simulate_live(times, [90] * 20, speed=2).dropped.sum() == pytest.approx(20 * (1 - 50 / 90), abs=2)


def test_nothing_is_dropped_of_nothing() -> None:
    run = simulate_live([], [])
    assert len(run.dropped) == 0 and len(run.delay_ms) == 0


@pytest.mark.parametrize("seed", range(3))
def test_it_agrees_with_a_simulation_in_small_steps(seed: int) -> None:
    print("seed", seed)
    rng = np.random.default_rng(seed)
    arrivals = np.sort(rng.integers(0, 3000, 40))
    costs = rng.integers(1, 200, 40)
    dropped, waiting, ends = np.zeros(40, bool), None, -1
    for now in range(6000):
        # A node that becomes free takes what waits before the arrivals of the same moment.
        if now >= ends and waiting is not None:
            ends, waiting = now + costs[waiting], None
        for index in np.flatnonzero(arrivals == now):
            if waiting is not None:
                dropped[waiting] = True
            waiting = index
            if now >= ends:
                ends, waiting = now + costs[waiting], None
    found = simulate_live((arrivals * MS).tolist(), costs.tolist())
    np.testing.assert_array_equal(found.dropped, dropped)
