# SPDX-License-Identifier: Apache-2.0
"""Status of the pairing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("rclpy")

from healthy_observation import GOOD, RGB, THERMAL, thermal

from fusion_mamba_ros.ros.detector.frame_counters import FrameCounters
from fusion_mamba_ros.ros.detector.health import Level
from fusion_mamba_ros.ros.detector.pairing_health import pairing_status
from fusion_mamba_ros.ros.detector.stream_statistics import Summary
from fusion_mamba_ros.streams.presence import Absence


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
