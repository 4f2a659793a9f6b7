# SPDX-License-Identifier: Apache-2.0
"""Status of the output, and the statistics that it depends on."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("rclpy")

from healthy_observation import GOOD, MS, NOW_NS, RGB, SECOND, THERMAL

from fusion_mamba_ros.ros.detector.health import Level
from fusion_mamba_ros.ros.detector.inference_monitor import InferenceActivity
from fusion_mamba_ros.ros.detector.output_health import output_status
from fusion_mamba_ros.ros.detector.stream_statistics import WINDOW_NS, Output, StreamStatistics
from fusion_mamba_ros.streams.presence import Absence


@pytest.mark.parametrize("mode", ["fused", "rgb_only", "thermal_only", None])
@pytest.mark.parametrize(
    ("age_sec", "level"),
    # 0.5 s of timeout, 0.05 s of the slower camera and twice 0.1 s of inference: 0.75 s. An error 2 s later.
    [(0.74, Level.OK), (0.76, Level.WARN), (2.74, Level.WARN), (2.76, Level.ERROR)],
)
def test_the_age_of_the_last_output_is_judged_whatever_the_mode(mode: str | None, age_sec: float, level: Level) -> None:
    since_ns = NOW_NS - int(age_sec * SECOND)
    last = None if mode is None else Output(since_ns, mode, None, 10.0, 5.0)
    seen = replace(GOOD, summary=replace(GOOD.summary, last_output=last), active_since_ns=since_ns)
    status = output_status(seen)
    assert status.level == level
    if level != Level.OK:
        assert status.message == f"no output for {age_sec:.1f} s: cameras and inference allow 0.8 s"
        assert status.values["mode"] == "none"


def test_slow_inference_and_slow_cameras_allow_an_older_output() -> None:
    last = Output(NOW_NS - 5 * SECOND, "fused", None, 10.0, 5.0)
    summary = replace(GOOD.summary, last_output=last)
    assert output_status(replace(GOOD, summary=summary)).level == Level.ERROR
    assert output_status(replace(GOOD, summary=summary, inference=InferenceActivity(typical_sec=2.5))).level == 0
    slow = replace(summary, input_rates_hz={RGB: 30.0, THERMAL: 0.2})
    assert output_status(replace(GOOD, summary=slow)).level == 0
    assert output_status(replace(GOOD, summary=slow, absences={THERMAL: Absence.SILENT})).level == Level.ERROR


@pytest.mark.parametrize("turns", [1.0, 2.0])
def test_contributions_allow_an_older_output(turns: float) -> None:
    # A pair that comes during the contributions of the one before waits for them, then for its own inference.
    inference = InferenceActivity(typical_sec=0.6, contributions_sec=1.2)
    age_sec = turns * (0.6 + 1.2) + 0.6
    last = Output(NOW_NS - int(age_sec * SECOND), "fused", None, 10.0, 5.0)
    seen = replace(GOOD, summary=replace(GOOD.summary, last_output=last), inference=inference, turns=turns)
    assert output_status(seen).level == Level.OK
    assert output_status(replace(seen, inference=InferenceActivity(typical_sec=0.6))).level == Level.WARN


def test_rates_and_percentiles_are_those_of_the_last_five_seconds() -> None:
    statistics = StreamStatistics()
    for number in range(300):
        time_ns = number * SECOND // 30
        statistics.note_arrival(RGB, time_ns)
        if number % 3 == 0:
            statistics.note_arrival(THERMAL, time_ns)
            # Old outputs took long; none of them may be in the window.
            age_ms = 1000.0 if number < 100 else float(number % 10)
            statistics.note_output(Output(time_ns, "fused", -2_000_000, age_ms, 5.0))
    summary = statistics.summary(299 * SECOND // 30)
    assert summary.input_rates_hz == pytest.approx({RGB: 30.0, THERMAL: 10.0}, rel=0.02)
    assert summary.output_rate_hz == pytest.approx(10.0, rel=0.05)
    assert (summary.offset_ms_p50, summary.offset_ms_p95) == (2.0, 2.0)
    assert summary.age_ms_p95 is not None
    assert summary.age_ms_p95 < 10.0
    assert summary.inference_ms_p50 == 5.0


def test_a_camera_that_stops_loses_its_rate_and_a_burst_makes_none() -> None:
    statistics = StreamStatistics()
    for number in range(60):
        statistics.note_arrival(RGB, number * SECOND // 30)
    end_ns = 2 * SECOND
    assert statistics.summary(end_ns + SECOND).input_rates_hz[RGB] < 25.0
    assert statistics.summary(end_ns + 2 * WINDOW_NS).input_rates_hz[RGB] == 0.0
    for number in range(10):
        statistics.note_arrival(THERMAL, 100 * SECOND + number * MS)
    assert statistics.summary(100 * SECOND + 10 * MS).input_rates_hz[THERMAL] < 10.0
