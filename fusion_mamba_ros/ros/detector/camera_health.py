# SPDX-License-Identifier: Apache-2.0
"""Judge whether both cameras deliver and the node's clock runs."""

from __future__ import annotations

from dataclasses import asdict

from fusion_mamba_ros.ros.detector.further_images import FurtherState
from fusion_mamba_ros.ros.detector.health import Level, Observation, Status
from fusion_mamba_ros.streams.frames import Camera
from fusion_mamba_ros.streams.nearest_frame import NearestFrameCounters
from fusion_mamba_ros.streams.presence import Absence

# Reason shown for frames that pairing refuses, because pairing records no reason itself.
_STAMP_AHEAD = "a stamp ran ahead of the clock and the next one did not confirm it"


def camera_status(seen: Observation) -> Status:
    """Return the `cameras` status: whether both cameras deliver valid images and the clock runs."""
    status = Status("cameras")
    for camera in Camera:
        status.values[f"{camera.value} rate (Hz)"] = seen.summary.input_rates_hz.get(camera, 0.0)
        for name, count in seen.counters[camera].items():
            status.values[f"{camera.value} {name}"] = count
    for name, further in seen.further.items():
        for counter, count in asdict(further.counters).items():
            status.values[f"{name} {counter}"] = count
    for camera, rectification in seen.rectification.items():
        status.values[f"{camera.value} lens"] = rectification.summary
    status.values["clock jumps"] = seen.clock_jumps
    if not seen.active:
        status.messages.append("inactive")
        return status
    if not seen.clock_runs:
        status.note(Level.ERROR, "use_sim_time is set and no /clock arrives")
    elif seen.clock_stopped:
        status.note(
            Level.ERROR,
            f"the node's clock has stood still for {seen.clock_stopped_sec:.1f} s: /clock has stopped or is paused",
        )
    for camera in Camera:
        refused, received = seen.since_last_report(camera, "refused"), seen.since_last_report(camera, "received")
        if refused:
            reason = seen.refusals.get(camera, _STAMP_AHEAD)
            status.note(Level.WARN, f"{refused} of {received} {camera.value} images refused: {reason}")
    if seen.clock_runs:
        _judge_missing(status, seen)
    for camera, rectification in seen.rectification.items():
        if rectification.problem:
            status.note(
                Level.WARN,
                f"{camera.value} images are not rectified, camera_info cannot be used: {rectification.problem}",
            )
    _judge_further(status, seen)
    return status


def _judge_further(status: Status, seen: Observation) -> None:
    """Warn of each further modality that is missing from the last array or has refused images."""
    for name, now in seen.further.items():
        before = seen.previous_further.get(name, FurtherState(NearestFrameCounters())).counters
        refused, received = now.counters.refused - before.refused, now.counters.received - before.received
        if now.missing:
            status.note(Level.WARN, f"{name} is missing: {now.missing}")
        elif refused:
            status.note(Level.WARN, f"{refused} of {received} {name} images refused")


def _judge_missing(status: Status, seen: Observation) -> None:
    missing = seen.missing
    reasons = [f"{camera.value} is missing: {_why_missing(camera, seen)}" for camera in Camera if camera in missing]
    if len(missing) == 2:
        status.note(Level.ERROR, "no camera delivers fresh images; " + "; ".join(reasons))
    elif missing:
        status.note(Level.WARN if seen.missing_modality == "continue" else Level.ERROR, reasons[0])


def _why_missing(camera: Camera, seen: Observation) -> str:
    received, refused, late = (seen.since_last_report(camera, name) for name in ("received", "refused", "late"))
    if received == 0:
        return "nothing arrives"
    if refused == received:
        return "its images are refused"
    absence = seen.missing[camera]
    if absence is Absence.FROZEN:
        return "its image is frozen"
    if absence is Absence.APART:
        return "its stamps are never within pairing.max_offset_sec of those of the other camera"
    if late + refused == received:
        return "its stamps do not increase"
    return "no fresh image came within pairing.timeout_sec"
