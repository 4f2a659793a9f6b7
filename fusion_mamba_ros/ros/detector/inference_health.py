# SPDX-License-Identifier: Apache-2.0
"""Judge whether inference succeeds and ends in time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fusion_mamba_ros.ros.detector.health import Level, Observation, Status
from fusion_mamba_ros.streams.frames import Camera

FAILURES_IN_A_ROW_ERROR = 3


def inference_status(seen: Observation, figures: Mapping[str, Any]) -> Status:
    """Return the `inference` status. ``figures`` (device, memory, accuracy) are added to its values."""
    status, activity = Status("inference"), seen.inference
    timeout_sec = activity.timeout_sec(seen.inference_timeout_sec)
    status.values["inference p50 (ms)"] = seen.summary.inference_ms_p50
    status.values["inference p95 (ms)"] = seen.summary.inference_ms_p95
    status.values["inference timeout (s)"] = timeout_sec
    status.values["inferences with non-finite output"] = activity.non_finite
    status.values["last failure"] = activity.last_failure or "none"
    status.values.update(figures)
    if not seen.active:
        status.messages.append("inactive")
        return status
    if activity.stage is not None and activity.stage_sec > timeout_sec:
        origin = "automatic" if seen.inference_timeout_sec == 0 else "as set"
        status.note(
            Level.ERROR,
            f"{activity.stage} has not ended for {activity.stage_sec:.1f} s: "
            f"inference.timeout_sec is {timeout_sec:.1f} s ({origin})",
        )
    failed = sum(seen.since_last_report(camera, "failed") for camera in Camera)
    if activity.failures_in_a_row >= FAILURES_IN_A_ROW_ERROR:
        status.note(
            Level.ERROR, f"inference failed {activity.failures_in_a_row} times in a row: {activity.last_failure}"
        )
    elif failed:
        status.note(Level.WARN, f"{failed} frames lost, inference failed: {activity.last_failure}")
    return status
