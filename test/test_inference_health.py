# SPDX-License-Identifier: Apache-2.0
"""Status of the inference, and the monitor of its thread."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("rclpy")

from healthy_observation import GOOD, SECOND, THERMAL, thermal

from fusion_mamba_ros.ros.detector.health import Level
from fusion_mamba_ros.ros.detector.inference_health import inference_status
from fusion_mamba_ros.ros.detector.inference_monitor import InferenceActivity, InferenceMonitor
from fusion_mamba_ros.streams.frames import Camera
from fusion_mamba_ros.streams.presence import Absence


@pytest.mark.parametrize(("in_a_row", "level"), [(0, Level.WARN), (2, Level.WARN), (3, Level.ERROR)])
def test_failed_inferences(in_a_row: int, level: Level) -> None:
    counters = thermal(received=130, paired=128, failed=2)
    activity = InferenceActivity(failures_in_a_row=in_a_row, last_failure="out of memory: 2 GiB", non_finite=4)
    status = inference_status(replace(GOOD, counters=counters, inference=activity), {})
    assert status.level == level
    assert "out of memory: 2 GiB" in status.message
    assert status.values["inferences with non-finite output"] == 4


@pytest.mark.parametrize("absences", [{}, {THERMAL: Absence.SILENT}])
@pytest.mark.parametrize(
    ("set_sec", "typical_sec", "stage_sec", "level"),
    [
        (0.0, 0.1, 1.9, Level.OK),  # at least two seconds
        (0.0, 0.1, 2.1, Level.ERROR),
        (0.0, None, 2.1, Level.ERROR),
        (0.0, 0.5, 4.9, Level.OK),  # ten times what is usual
        (0.0, 0.5, 5.1, Level.ERROR),
        (0.5, 0.1, 0.6, Level.ERROR),
        (30.0, 0.1, 29.0, Level.OK),
    ],
)
def test_an_inference_that_does_not_end_is_an_error(
    absences: dict[Camera, Absence], set_sec: float, typical_sec: float | None, stage_sec: float, level: Level
) -> None:
    activity = InferenceActivity(stage="inference", stage_sec=stage_sec, typical_sec=typical_sec)
    seen = replace(GOOD, inference=activity, inference_timeout_sec=set_sec, absences=absences)
    status = inference_status(seen, {})
    assert status.level == level
    if level == Level.ERROR:
        assert f"inference has not ended for {stage_sec:.1f} s: inference.timeout_sec is" in status.message


def test_the_time_of_the_warm_up_counts_until_twenty_inferences_have_run() -> None:
    monitor = InferenceMonitor((0.4, 3.0, 0.5))
    assert InferenceMonitor().observe().typical_sec is None
    for count in range(19):
        monitor.record_success(0.1)
        assert monitor.observe().typical_sec == 0.5, count
    monitor.record_success(30.0)  # One that hung does not lengthen what the next may take.
    assert monitor.observe().typical_sec == 0.1
    assert monitor.observe().timeout_sec(0.0) == 2.0
    for _ in range(50):
        monitor.record_success(0.7)
    assert monitor.observe().timeout_sec(0.0) == pytest.approx(7.0)


def test_inference_on_tiles_is_not_judged_by_the_warm_up_on_one_image() -> None:
    monitor = InferenceMonitor((0.1, 0.1, 0.1))
    for _ in range(3):
        monitor.record_success(30.0)
    monitor.record_success(4.0)
    assert monitor.observe().typical_sec == 4.0
    assert monitor.observe().timeout_sec(0.0) == pytest.approx(40.0)


def test_contributions_lengthen_the_pace_and_not_the_inference() -> None:
    now_ns = [0]
    monitor = InferenceMonitor((0.5,), steady_ns=lambda: now_ns[0])
    assert monitor.observe().pace_sec == 0.5
    monitor.enter("computing the contributions")
    now_ns[0] += 7 * SECOND
    monitor.record_contributions()
    seen = monitor.observe()
    assert (seen.typical_sec, seen.pace_sec) == (0.5, 7.5)
    assert seen.timeout_sec(0.0) == pytest.approx(70.0)


def test_the_monitor_tells_the_stage_and_how_long_it_lasts() -> None:
    now_ns = [SECOND]
    monitor = InferenceMonitor(steady_ns=lambda: now_ns[0])
    assert (monitor.observe().stage, monitor.observe().stage_sec) == (None, 0.0)
    monitor.enter("inference")
    now_ns[0] += 25 * SECOND
    assert (monitor.observe().stage, monitor.observe().stage_sec) == ("inference", 25.0)
    monitor.record_failure("it broke", non_finite=True)
    monitor.record_failure("again", non_finite=False)
    monitor.finish()
    seen = monitor.observe()
    assert (seen.stage, seen.failures_in_a_row, seen.last_failure, seen.non_finite) == (None, 2, "again", 1)
    monitor.record_success(1.0)
    assert monitor.observe().failures_in_a_row == 0
