# SPDX-License-Identifier: Apache-2.0
"""The thresholds of diagnostics, and the statistics that they are judged by."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("rclpy")

from fusion_mamba_ros.ros.frame_counters import FrameCounters
from fusion_mamba_ros.ros.health import Level, Observation, camera_finding, inference_finding, pairing_finding
from fusion_mamba_ros.ros.stream_statistics import WINDOW_NS, Output, StreamStatistics, Summary
from fusion_mamba_ros.streams.frames import Side

SECOND = 10**9
BEFORE = {side: FrameCounters(received=100, paired=100) for side in Side}
GOOD = Observation(
    active=True,
    clock_runs=True,
    missing=frozenset(),
    missing_modality="continue",
    summary=Summary(offset_ms_p50=1.0, offset_ms_p95=2.0),
    now_ns=100 * SECOND,
    counters={side: FrameCounters(received=130, paired=130) for side in Side},
    previous=BEFORE,
    max_offset_sec=0.05,
    thermal_offset_sec=0.0,
    estimated_thermal_offset_sec=None,
)


def thermal(**counts: int) -> dict[Side, FrameCounters]:
    """Counters of a second in which RGB was fine and thermal ended as given."""
    return {Side.RGB: FrameCounters(received=130, paired=130), Side.THERMAL: FrameCounters(**counts)}


def test_all_is_well() -> None:
    for finding in (camera_finding(GOOD), pairing_finding(GOOD), inference_finding(GOOD, {"device": "cpu"})):
        assert (finding.level, finding.message) == (Level.OK, "OK")
    assert inference_finding(GOOD, {"device": "cpu"}).values["device"] == "cpu"


@pytest.mark.parametrize(
    ("change", "level", "words"),
    [
        ({"missing": frozenset({Side.THERMAL})}, Level.WARN, "thermal is missing"),
        ({"missing": frozenset({Side.RGB}), "missing_modality": "stop"}, Level.ERROR, "rgb is missing"),
        ({"missing": frozenset(Side)}, Level.ERROR, "no camera delivers fresh pictures"),
        ({"clock_runs": False}, Level.ERROR, "use_sim_time is set and no /clock arrives"),
        ({"counters": thermal(received=130, paired=129, refused=1)}, Level.WARN, "1 of 30 thermal images refused"),
        ({"active": False}, Level.OK, "inactive"),
    ],
)
def test_cameras(change: dict, level: Level, words: str) -> None:
    finding = camera_finding(replace(GOOD, **change))
    assert finding.level == level
    assert words in finding.message


@pytest.mark.parametrize(
    ("received", "words"), [(100, "nothing arrives"), (130, "its picture is frozen, or its stamps are far")]
)
def test_the_reason_why_a_camera_is_missing(received: int, words: str) -> None:
    seen = replace(GOOD, missing=frozenset({Side.THERMAL}), counters=thermal(received=received, paired=received))
    assert words in camera_finding(seen).message


@pytest.mark.parametrize(
    ("change", "level", "words"),
    [
        ({"counters": thermal(received=130, paired=124, unpaired=6)}, Level.OK, ""),
        ({"counters": thermal(received=130, paired=123, unpaired=7)}, Level.WARN, "23% of the thermal frames found no"),
        ({"counters": thermal(received=130, paired=115, dropped=15)}, Level.OK, ""),
        ({"counters": thermal(received=130, paired=114, dropped=16)}, Level.WARN, "53% of the pairs dropped"),
        ({"summary": Summary(offset_ms_p95=39.0)}, Level.OK, ""),
        ({"summary": Summary(offset_ms_p95=41.0)}, Level.WARN, "pair offset p95 is 41 ms"),
        ({"estimated_thermal_offset_sec": 0.024}, Level.OK, ""),
        ({"estimated_thermal_offset_sec": -0.026}, Level.WARN, "set pairing.thermal_offset_sec to -0.0260"),
        ({"estimated_thermal_offset_sec": -0.03, "thermal_offset_sec": -0.03}, Level.OK, ""),
    ],
)
def test_pairing(change: dict, level: Level, words: str) -> None:
    finding = pairing_finding(replace(GOOD, **change))
    assert finding.level == level, finding.message
    assert words in finding.message


def test_surplus_frames_of_the_faster_camera_are_normal() -> None:
    counters = {
        Side.RGB: FrameCounters(received=130, paired=109, unpaired=21),
        Side.THERMAL: FrameCounters(received=109, paired=109),
    }
    assert pairing_finding(replace(GOOD, counters=counters)).level == Level.OK


@pytest.mark.parametrize(("in_a_row", "level"), [(0, Level.WARN), (2, Level.WARN), (3, Level.ERROR)])
def test_inference(in_a_row: int, level: Level) -> None:
    counters = thermal(received=130, paired=128, failed=2)
    seen = replace(GOOD, counters=counters, failures_in_a_row=in_a_row, last_failure="out of memory: 2 GiB")
    finding = inference_finding(seen, {})
    assert finding.level == level
    assert "out of memory: 2 GiB" in finding.message


def test_rates_and_percentiles_are_those_of_the_last_five_seconds() -> None:
    statistics = StreamStatistics()
    for number in range(300):
        time_ns = number * SECOND // 30
        statistics.note_arrival(Side.RGB, time_ns)
        if number % 3 == 0:
            statistics.note_arrival(Side.THERMAL, time_ns)
            # Old outputs took long; none of them may be in the window.
            age_ms = 1000.0 if number < 100 else float(number % 10)
            statistics.note_output(Output(time_ns, "fused", -2_000_000, age_ms, 5.0))
    summary = statistics.summary(299 * SECOND // 30)
    assert summary.input_rates_hz == pytest.approx({Side.RGB: 30.0, Side.THERMAL: 10.0}, rel=0.02)
    assert summary.output_rate_hz == pytest.approx(10.0, rel=0.05)
    assert (summary.offset_ms_p50, summary.offset_ms_p95) == (2.0, 2.0)
    assert summary.age_ms_p95 is not None
    assert summary.age_ms_p95 < 10.0
    assert summary.inference_ms_p50 == 5.0


def test_a_camera_that_stops_loses_its_rate_and_a_clock_that_goes_back_starts_anew() -> None:
    statistics = StreamStatistics()
    for number in range(60):
        statistics.note_arrival(Side.RGB, 1000 * SECOND + number * SECOND // 30)
    end_ns = 1002 * SECOND
    assert statistics.summary(end_ns + SECOND).input_rates_hz[Side.RGB] < 25.0
    assert statistics.summary(end_ns + 2 * WINDOW_NS).input_rates_hz[Side.RGB] == 0.0
    for number in range(60):
        statistics.note_arrival(Side.RGB, number * SECOND // 30)
    assert statistics.summary(2 * SECOND).input_rates_hz[Side.RGB] == pytest.approx(30.0, rel=0.05)
