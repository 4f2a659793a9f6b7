# SPDX-License-Identifier: Apache-2.0
"""Drawn combinations of faults on simulated clocks: no false OK, no false stamp, counters add up, and it recovers."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy")

from fault_run import FaultRun
from fault_scenarios import Scenario, draw_scenario

SCENARIOS = 220
PER_TEST = 20


def run(scenario: Scenario) -> FaultRun:
    """Run a scenario; a failure names it."""
    with pytest.MonkeyPatch.context() as patch:
        faults = FaultRun(scenario, patch)
        try:
            faults.run()
        except AssertionError as error:
            raise AssertionError(f"{scenario}: {error}") from error
    return faults


def test_without_faults_everything_is_ok() -> None:
    assert run(Scenario(0)).reported_levels == {0}


@pytest.mark.parametrize("first_seed", range(0, SCENARIOS, PER_TEST))
def test_combinations_of_faults(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + PER_TEST):
        run(draw_scenario(seed))
