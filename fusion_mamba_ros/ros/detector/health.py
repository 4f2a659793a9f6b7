# SPDX-License-Identifier: Apache-2.0
"""The input of the node's health checks, and the status that each check returns.

The checks are `camera_health`, `pairing_health`, `inference_health` and `output_health`. `docs/reference/node.md`
documents them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from fusion_mamba_ros.ros.detector.camera_rectification import RectificationState
from fusion_mamba_ros.ros.detector.frame_counters import FrameCounters
from fusion_mamba_ros.ros.detector.further_images import FurtherState
from fusion_mamba_ros.ros.detector.inference_monitor import InferenceActivity
from fusion_mamba_ros.ros.detector.stream_statistics import Summary
from fusion_mamba_ros.streams.frames import Camera
from fusion_mamba_ros.streams.presence import Absence

# A /clock of 1 Hz still moves within this time.
CLOCK_STOPPED_SEC = 2.0


class Level(IntEnum):
    """Severity. Values are those of `diagnostic_msgs/DiagnosticStatus`."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass
class Status:
    """The status of one subject: the worst level, a message for each problem, and the values."""

    subject: str
    level: Level = Level.OK
    messages: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    def note(self, level: Level, message: str) -> None:
        """Add a problem."""
        self.level = max(self.level, level)
        self.messages.append(message)

    @property
    def message(self) -> str:
        """All problems, whatever their level, or OK."""
        return "; ".join(self.messages) or "OK"


def _no_frames() -> Mapping[Camera, FrameCounters]:
    return {camera: FrameCounters() for camera in Camera}


@dataclass(frozen=True)
class Observation:
    """The input of the health checks at one moment. The defaults describe an inactive node.

    ``counters`` are the current counters, ``previous`` those of the last report. ``further`` and ``previous_further``
    are the same for modalities besides RGB and thermal. ``absences`` are the missing cameras as pairing reports them,
    on the node's clock. ``rectification`` says whether the images of a camera are rectified. ``refusals`` holds the
    latest reason of each camera that had an image refused. ``clock_stopped_sec`` is the steady time for which the
    node's clock has stood still. ``turns`` is the number of camera pairs for each inference thread.
    """

    active: bool = False
    clock_runs: bool = True
    clock_stopped_sec: float = 0.0
    steady_ns: int = 0
    active_since_ns: int = 0
    absences: Mapping[Camera, Absence] = field(default_factory=dict)
    counters: Mapping[Camera, FrameCounters] = field(default_factory=_no_frames)
    previous: Mapping[Camera, FrameCounters] = field(default_factory=_no_frames)
    further: Mapping[str, FurtherState] = field(default_factory=dict)
    previous_further: Mapping[str, FurtherState] = field(default_factory=dict)
    rectification: Mapping[Camera, RectificationState] = field(default_factory=dict)
    refusals: Mapping[Camera, str] = field(default_factory=dict)
    clock_jumps: int = 0
    summary: Summary = field(default_factory=Summary)
    inference: InferenceActivity = field(default_factory=InferenceActivity)
    missing_modality: str = "continue"
    pairing_timeout_sec: float = 0.5
    max_offset_sec: float = 0.05
    thermal_offset_sec: float = 0.0
    estimated_thermal_offset_sec: float | None = None
    inference_timeout_sec: float = 0.0
    turns: float = 1.0

    @property
    def clock_stopped(self) -> bool:
        """Whether the node's clock has stood still for at least `CLOCK_STOPPED_SEC`."""
        return self.clock_stopped_sec >= CLOCK_STOPPED_SEC

    @property
    def missing(self) -> Mapping[Camera, Absence]:
        """The cameras without a fresh image, each with the reason.

        The timeouts of pairing stand still with the node's clock. While it stands still, the steady clock decides.
        """
        missing = dict(self.absences)
        if self.clock_stopped:
            for camera in Camera:
                last_ns = self.summary.last_arrival_ns.get(camera, self.active_since_ns)
                if (self.steady_ns - last_ns) * 1e-9 > self.pairing_timeout_sec + CLOCK_STOPPED_SEC:
                    missing[camera] = Absence.SILENT
        return missing

    def since_last_report(self, camera: Camera, counter: str) -> int:
        """Return by how much a counter of one camera has grown since the last report."""
        return int(getattr(self.counters[camera], counter) - getattr(self.previous[camera], counter))
