# SPDX-License-Identifier: Apache-2.0
"""Status of the cameras, and the clock that it depends on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("rclpy")

from healthy_observation import GOOD, NOW_NS, RGB, SECOND, THERMAL, thermal

from fusion_mamba_ros.ros.detector.camera_health import camera_status
from fusion_mamba_ros.ros.detector.clock_watch import ClockWatch
from fusion_mamba_ros.ros.detector.further_images import FurtherState
from fusion_mamba_ros.ros.detector.health import Level
from fusion_mamba_ros.streams.frames import Camera
from fusion_mamba_ros.streams.nearest_frame import NearestFrameCounters
from fusion_mamba_ros.streams.presence import Absence


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


def test_a_clock_that_stands_still_is_timed_by_the_steady_one() -> None:
    watch = ClockWatch()
    readings = [(5, 0), (6, 1), (6, 2), (6, 4), (2, 5), (2, 6), (9, 7)]
    stopped = [watch.stopped_sec(node, steady * SECOND) for node, steady in readings]
    assert stopped == [0.0, 0.0, 1.0, 3.0, 0.0, 1.0, 0.0]
