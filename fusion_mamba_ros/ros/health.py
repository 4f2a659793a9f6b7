# SPDX-License-Identifier: Apache-2.0
"""When the node is well: levels and the thresholds behind them, as documented in `docs/reference/node.md`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from fusion_mamba_ros.ros.frame_counters import FrameCounters
from fusion_mamba_ros.ros.stream_statistics import Summary
from fusion_mamba_ros.streams.frames import Side

# Share of what arrived since the last report, of one camera.
REFUSED_WARN = 0.0
UNPAIRED_WARN = 0.2
DROPPED_WARN = 0.5
# Up to this ratio of their frame counts two cameras are taken for equally fast.
SAME_RATE = 1.2
# Share of pairing.max_offset_sec.
OFFSET_P95_WARN = 0.8
CLOCK_OFFSET_WARN = 0.5
FAILURES_IN_A_ROW_ERROR = 3


class Level(IntEnum):
    """Severity; values are those of `diagnostic_msgs/DiagnosticStatus`."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass
class Finding:
    """One subject of diagnostics: the worst that was found, in words, and the figures."""

    subject: str
    level: Level = Level.OK
    messages: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    def note(self, level: Level, message: str) -> None:
        """Add something that is wrong."""
        self.level = max(self.level, level)
        self.messages.append(message)

    @property
    def message(self) -> str:
        """All that is wrong, worst or not, or OK."""
        return "; ".join(self.messages) or "OK"


@dataclass(frozen=True)
class Observation:
    """Everything that health is judged by, at one moment. Times in seconds unless the name says milliseconds."""

    active: bool
    clock_runs: bool
    missing: frozenset[Side]
    missing_modality: str
    summary: Summary
    now_ns: int
    counters: Mapping[Side, FrameCounters]
    previous: Mapping[Side, FrameCounters]
    max_offset_sec: float
    thermal_offset_sec: float
    estimated_thermal_offset_sec: float | None
    failures_in_a_row: int = 0
    last_failure: str = ""


def camera_finding(seen: Observation) -> Finding:
    """Return whether both cameras deliver good pictures."""
    finding = Finding("cameras")
    for side in Side:
        now, before = seen.counters[side], seen.previous[side]
        finding.values[f"{side.value} rate (Hz)"] = seen.summary.input_rates_hz.get(side, 0.0)
        for name, count in now.items():
            finding.values[f"{side.value} {name}"] = count
        refused, received = now.refused - before.refused, now.received - before.received
        if seen.active and refused > REFUSED_WARN * received:
            finding.note(Level.WARN, f"{refused} of {received} {side.value} images refused")
    if not seen.active:
        finding.messages.append("inactive")
    elif not seen.clock_runs:
        finding.note(Level.ERROR, "use_sim_time is set and no /clock arrives")
    elif len(seen.missing) == 2:
        finding.note(Level.ERROR, "no camera delivers fresh pictures")
    elif seen.missing:
        (side,) = seen.missing
        level = Level.WARN if seen.missing_modality == "continue" else Level.ERROR
        finding.note(level, f"{side.value} is missing: {_why_missing(side, seen)}")
    return finding


def pairing_finding(seen: Observation) -> Finding:
    """Return whether the cameras agree in time and their pairs are used."""
    finding = Finding("pairing")
    summary, values = seen.summary, finding.values
    last = summary.last_output
    values["mode"] = last.mode if last is not None and len(seen.missing) != 2 else "none"
    values["output rate (Hz)"] = summary.output_rate_hz
    values["age of last output (s)"] = None if last is None else (seen.now_ns - last.node_ns) * 1e-9
    values["pair offset p50 (ms)"] = summary.offset_ms_p50
    values["pair offset p95 (ms)"] = summary.offset_ms_p95
    values["output age p50 (ms)"] = summary.age_ms_p50
    values["output age p95 (ms)"] = summary.age_ms_p95
    values["thermal offset set (s)"] = seen.thermal_offset_sec
    values["thermal offset estimated (s)"] = seen.estimated_thermal_offset_sec
    if not seen.active:
        finding.messages.append("inactive")
        return finding
    if not seen.missing:
        _judge_shares(finding, seen)
    if summary.offset_ms_p95 is not None and summary.offset_ms_p95 > 1e3 * OFFSET_P95_WARN * seen.max_offset_sec:
        finding.note(Level.WARN, f"pair offset p95 is {summary.offset_ms_p95:.0f} ms, close to pairing.max_offset_sec")
    estimate = seen.estimated_thermal_offset_sec
    if estimate is not None and abs(estimate - seen.thermal_offset_sec) > CLOCK_OFFSET_WARN * seen.max_offset_sec:
        finding.note(Level.WARN, f"the cameras' clocks differ: set pairing.thermal_offset_sec to {estimate:.4f}")
    return finding


def inference_finding(seen: Observation, figures: Mapping[str, Any]) -> Finding:
    """Return whether inference works; ``figures`` about device, memory and accuracy are passed on."""
    finding = Finding("inference")
    finding.values["inference p50 (ms)"] = seen.summary.inference_ms_p50
    finding.values["inference p95 (ms)"] = seen.summary.inference_ms_p95
    finding.values.update(figures)
    failed = sum(seen.counters[side].failed - seen.previous[side].failed for side in Side)
    if not seen.active:
        finding.messages.append("inactive")
    elif seen.failures_in_a_row >= FAILURES_IN_A_ROW_ERROR:
        finding.note(Level.ERROR, f"inference failed {seen.failures_in_a_row} times in a row: {seen.last_failure}")
    elif failed:
        finding.note(Level.WARN, f"{failed} frames lost, inference failed: {seen.last_failure}")
    return finding


def _why_missing(side: Side, seen: Observation) -> str:
    if seen.counters[side].received == seen.previous[side].received:
        return "nothing arrives"
    return "its picture is frozen, or its stamps are far from those of the other camera"


def _judge_shares(finding: Finding, seen: Observation) -> None:
    received = {side: seen.counters[side].received - seen.previous[side].received for side in Side}
    slowest = min(received.values())
    if slowest == 0:
        return
    # Surplus frames of a faster camera are normal.
    judged = [side for side in Side if received[side] <= SAME_RATE * slowest]

    def share(counter: str) -> tuple[float, Side]:
        counts = {
            side: getattr(seen.counters[side], counter) - getattr(seen.previous[side], counter) for side in judged
        }
        return max((counts[side] / received[side], side) for side in judged)

    unpaired, side = share("unpaired")
    if unpaired > UNPAIRED_WARN:
        finding.note(Level.WARN, f"{unpaired:.0%} of the {side.value} frames found no partner")
    dropped, _ = share("dropped")
    if dropped > DROPPED_WARN:
        finding.note(Level.WARN, f"inference is slower than the cameras: {dropped:.0%} of the pairs dropped")
