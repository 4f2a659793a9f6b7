# SPDX-License-Identifier: Apache-2.0
"""The thresholds of diagnostics, and the statistics that they are judged by."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("rclpy")

from fusion_mamba_ros.ros.detector.camera_health import camera_status
from fusion_mamba_ros.ros.detector.clock_watch import ClockWatch
from fusion_mamba_ros.ros.detector.frame_counters import FrameCounters
from fusion_mamba_ros.ros.detector.further_images import FurtherState
from fusion_mamba_ros.ros.detector.health import Level, Observation
from fusion_mamba_ros.ros.detector.inference_health import inference_status
from fusion_mamba_ros.ros.detector.inference_monitor import InferenceActivity, InferenceMonitor
from fusion_mamba_ros.ros.detector.output_health import output_status
from fusion_mamba_ros.ros.detector.pairing_health import pairing_status
from fusion_mamba_ros.ros.detector.stream_statistics import WINDOW_NS, Output, StreamStatistics, Summary
from fusion_mamba_ros.streams.frames import Camera
from fusion_mamba_ros.streams.nearest_frame import NearestFrameCounters
from fusion_mamba_ros.streams.presence import Absence

SECOND = 10**9
MS = 10**6
NOW_NS = 100 * SECOND
RGB, THERMAL = Camera.RGB, Camera.THERMAL
RATES_HZ = {RGB: 30.0, THERMAL: 20.0}
BEFORE = {camera: FrameCounters(received=100, paired=100) for camera in Camera}
GOOD = Observation(
    active=True,
    steady_ns=NOW_NS,
    absences={},
    summary=Summary(
        input_rates_hz=RATES_HZ,
        last_arrival_ns=dict.fromkeys(Camera, NOW_NS),
        last_output=Output(NOW_NS - 50 * MS, "fused", 1 * MS, 10.0, 5.0),
        offset_ms_p50=1.0,
        offset_ms_p95=2.0,
    ),
    counters={camera: FrameCounters(received=130, paired=130) for camera in Camera},
    previous=BEFORE,
    inference=InferenceActivity(typical_sec=0.1),
)


def thermal(**counts: int) -> dict[Camera, FrameCounters]:
    """Counters of a second in which RGB was fine and thermal ended as given."""
    return {RGB: FrameCounters(received=130, paired=130), THERMAL: FrameCounters(**counts)}


def test_all_is_well() -> None:
    for status in (camera_status(GOOD), pairing_status(GOOD), inference_status(GOOD, {"a": 1}), output_status(GOOD)):
        assert (status.level, status.message) == (Level.OK, "OK")
    assert inference_status(GOOD, {"device": "cpu"}).values["device"] == "cpu"


def test_an_inactive_node_is_well() -> None:
    idle = Observation()
    for status in (camera_status(idle), pairing_status(idle), inference_status(idle, {}), output_status(idle)):
        assert (status.level, status.message) == (Level.OK, "inactive")


@pytest.mark.parametrize(
    ("change", "level", "words"),
    [
        ({"absences": {THERMAL: Absence.SILENT}}, Level.WARN, "thermal is missing"),
        ({"absences": {RGB: Absence.SILENT}, "missing_modality": "stop"}, Level.ERROR, "rgb is missing"),
        ({"absences": dict.fromkeys(Camera, Absence.SILENT)}, Level.ERROR, "no camera delivers fresh images"),
        ({"clock_runs": False}, Level.ERROR, "use_sim_time is set and no /clock arrives"),
        ({"clock_stopped_sec": 1.9}, Level.OK, ""),
        ({"clock_stopped_sec": 2.0}, Level.ERROR, "the node's clock has stood still for 2.0 s"),
    ],
)
def test_cameras(change: dict[str, Any], level: Level, words: str) -> None:
    status = camera_status(replace(GOOD, **change))
    assert status.level == level
    assert words in status.message


def test_refused_images_are_called_refused_with_the_reason() -> None:
    counters = thermal(received=130, paired=129, refused=1)
    seen = replace(GOOD, counters=counters, refusals={THERMAL: "the data is cut short"})
    status = camera_status(seen)
    assert (status.level, status.message) == (Level.WARN, "1 of 30 thermal images refused: the data is cut short")
    ahead = camera_status(replace(seen, refusals={}))
    assert "1 of 30 thermal images refused: a stamp ran ahead of the clock" in ahead.message


@pytest.mark.parametrize(
    ("counts", "absence", "words"),
    [
        ({"received": 100, "paired": 100}, Absence.SILENT, "nothing arrives"),
        ({"received": 100, "paired": 100}, Absence.FROZEN, "nothing arrives"),
        ({"received": 130, "paired": 100, "unpaired": 30}, Absence.FROZEN, "its image is frozen"),
        ({"received": 130, "paired": 100, "unpaired": 30}, Absence.APART, "never within pairing.max_offset_sec"),
        ({"received": 130, "paired": 100, "refused": 30}, Absence.SILENT, "its images are refused"),
        ({"received": 130, "paired": 100, "late": 30}, Absence.SILENT, "its stamps do not increase"),
    ],
)
def test_the_reason_why_a_camera_is_missing(counts: dict[str, Any], absence: Absence, words: str) -> None:
    status = camera_status(replace(GOOD, absences={THERMAL: absence}, counters=thermal(**counts)))
    assert status.message.count("thermal is missing") == 1
    reason = status.message.partition("thermal is missing: ")[2]
    assert reason.startswith(words) or reason.endswith(f"{words} of those of the other camera")


def test_cameras_are_missed_by_the_steady_clock_while_that_of_the_node_stands_still() -> None:
    arrivals = {RGB: NOW_NS, THERMAL: NOW_NS - 3 * SECOND}
    seen = replace(GOOD, clock_stopped_sec=4.0, summary=replace(GOOD.summary, last_arrival_ns=arrivals))
    assert set(seen.missing) == {THERMAL}
    message = camera_status(seen).message
    assert "stood still for 4.0 s" in message and "thermal is missing" in message
    assert not replace(seen, clock_stopped_sec=0.0).missing, "then pairing's word holds"


@pytest.mark.parametrize(
    ("change", "level", "words"),
    [
        ({"counters": thermal(received=130, paired=124, unpaired=6)}, Level.OK, ""),
        ({"counters": thermal(received=130, paired=123, unpaired=7)}, Level.WARN, "23% of the thermal frames found no"),
        ({"counters": thermal(received=130, paired=124, late=6)}, Level.OK, ""),
        ({"counters": thermal(received=130, paired=123, late=7)}, Level.WARN, "23% of the thermal frames came late"),
        ({"counters": thermal(received=130, paired=115, dropped=15)}, Level.OK, ""),
        ({"counters": thermal(received=130, paired=114, dropped=16)}, Level.WARN, "53% of the pairs dropped"),
        ({"summary": Summary(offset_ms_p95=39.0)}, Level.OK, ""),
        ({"summary": Summary(offset_ms_p95=41.0)}, Level.WARN, "pair offset p95 is 41 ms"),
        ({"estimated_thermal_offset_sec": 0.024}, Level.OK, ""),
        ({"estimated_thermal_offset_sec": -0.026}, Level.WARN, "set pairing.thermal_offset_sec to -0.0260"),
        ({"estimated_thermal_offset_sec": -0.03, "thermal_offset_sec": -0.03}, Level.OK, ""),
    ],
)
def test_pairing(change: dict[str, Any], level: Level, words: str) -> None:
    status = pairing_status(replace(GOOD, **change))
    assert status.level == level, status.message
    assert words in status.message


@pytest.mark.parametrize("thermal_frames", [0, 9])
def test_dropped_frames_are_judged_while_one_camera_is_missing(thermal_frames: int) -> None:
    counters = {
        RGB: FrameCounters(received=130, paired=100, alone=2, dropped=28),
        THERMAL: FrameCounters(received=100 + thermal_frames, paired=100, unpaired=thermal_frames),
    }
    absence = Absence.FROZEN if thermal_frames else Absence.SILENT
    status = pairing_status(replace(GOOD, counters=counters, absences={THERMAL: absence}))
    assert status.level == Level.WARN
    assert status.message == "inference is slower than the cameras: 93% of the rgb frames dropped"


def test_surplus_frames_of_the_faster_camera_are_normal() -> None:
    counters = {
        RGB: FrameCounters(received=130, paired=109, unpaired=21),
        THERMAL: FrameCounters(received=109, paired=109),
    }
    assert pairing_status(replace(GOOD, counters=counters)).level == Level.OK


@pytest.mark.parametrize("absences", [{}, {THERMAL: Absence.SILENT}])
@pytest.mark.parametrize(
    ("missing", "refused", "message"),
    [
        ("", 4, "OK"),
        ("", 5, "1 of 10 depth images refused"),
        ("nothing arrives", 5, "depth is missing: nothing arrives"),
    ],
)
def test_a_further_modality_is_judged_whatever_the_cameras_do(
    absences: dict[Camera, Absence], missing: str, refused: int, message: str
) -> None:
    before = {"depth": FurtherState(NearestFrameCounters(received=10, used=6, refused=4))}
    now = {"depth": FurtherState(NearestFrameCounters(received=20, used=15, refused=refused), missing)}
    status = camera_status(replace(GOOD, absences=absences, further=now, previous_further=before))
    assert status.level == (Level.WARN if absences or message != "OK" else Level.OK)
    assert ("depth" in status.message) == (message != "OK")
    assert message == "OK" or message in status.message
    assert status.values["depth used"] == 15


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


def test_a_clock_that_stands_still_is_timed_by_the_steady_one() -> None:
    watch = ClockWatch()
    readings = [(5, 0), (6, 1), (6, 2), (6, 4), (2, 5), (2, 6), (9, 7)]
    stopped = [watch.stopped_sec(node, steady * SECOND) for node, steady in readings]
    assert stopped == [0.0, 0.0, 1.0, 3.0, 0.0, 1.0, 0.0]


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
