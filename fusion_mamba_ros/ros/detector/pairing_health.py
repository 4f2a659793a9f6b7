# SPDX-License-Identifier: Apache-2.0
"""Judge whether the cameras are synchronised and their frames are used."""

from __future__ import annotations

from fusion_mamba_ros.ros.detector.health import Level, Observation, Status
from fusion_mamba_ros.streams.frames import Camera

# Shares of the frames of one camera that arrived since the last report.
UNPAIRED_WARN = 0.2
LATE_WARN = 0.2
DROPPED_WARN = 0.5
# Two cameras count as equally fast up to this ratio of their frame counts.
SAME_RATE = 1.2
# Shares of pairing.max_offset_sec.
OFFSET_P95_WARN = 0.8
CLOCK_OFFSET_WARN = 0.5


def pairing_status(seen: Observation) -> Status:
    """Return the `pairing` status: whether the cameras are synchronised and their frames are used."""
    status = Status("pairing")
    summary, values = seen.summary, status.values
    values["pair offset p50 (ms)"] = summary.offset_ms_p50
    values["pair offset p95 (ms)"] = summary.offset_ms_p95
    values["thermal offset set (s)"] = seen.thermal_offset_sec
    values["thermal offset estimated (s)"] = seen.estimated_thermal_offset_sec
    if not seen.active:
        status.messages.append("inactive")
        return status
    _judge_shares(status, seen)
    if summary.offset_ms_p95 is not None and summary.offset_ms_p95 > 1e3 * OFFSET_P95_WARN * seen.max_offset_sec:
        status.note(Level.WARN, f"pair offset p95 is {summary.offset_ms_p95:.0f} ms, close to pairing.max_offset_sec")
    estimate = seen.estimated_thermal_offset_sec
    if estimate is not None and abs(estimate - seen.thermal_offset_sec) > CLOCK_OFFSET_WARN * seen.max_offset_sec:
        status.note(Level.WARN, f"the cameras' clocks differ: set pairing.thermal_offset_sec to {estimate:.4f}")
    return status


def _judge_shares(status: Status, seen: Observation) -> None:
    """Warn of late and dropped frames, and of frames without partner if both cameras deliver."""
    missing = seen.missing
    received = {camera: seen.since_last_report(camera, "received") for camera in Camera}
    delivering = {camera: count for camera, count in received.items() if count and camera not in missing}
    if not delivering:
        return
    # Skip a faster camera: its surplus frames are normal.
    judged = [camera for camera, count in delivering.items() if count <= SAME_RATE * min(delivering.values())]

    def share(counter: str) -> tuple[float, Camera]:
        return max((seen.since_last_report(camera, counter) / received[camera], camera) for camera in judged)

    unpaired, camera = share("unpaired")
    if len(delivering) == 2 and unpaired > UNPAIRED_WARN:
        status.note(Level.WARN, f"{unpaired:.0%} of the {camera.value} frames found no partner")
    late, camera = max((seen.since_last_report(camera, "late") / count, camera) for camera, count in delivering.items())
    if late > LATE_WARN:
        status.note(Level.WARN, f"{late:.0%} of the {camera.value} frames came late or repeat a stamp")
    dropped, camera = share("dropped")
    if dropped > DROPPED_WARN:
        what = "pairs" if len(delivering) == 2 else f"{camera.value} frames"
        status.note(Level.WARN, f"inference is slower than the cameras: {dropped:.0%} of the {what} dropped")
