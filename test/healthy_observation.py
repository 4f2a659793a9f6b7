# SPDX-License-Identifier: Apache-2.0
"""An observation of the node in which all is well, for tests that change one thing."""

from __future__ import annotations

from fusion_mamba_ros.ros.detector.frame_counters import FrameCounters
from fusion_mamba_ros.ros.detector.health import Observation
from fusion_mamba_ros.ros.detector.inference_monitor import InferenceActivity
from fusion_mamba_ros.ros.detector.stream_statistics import Output, Summary
from fusion_mamba_ros.streams.frames import Camera

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
