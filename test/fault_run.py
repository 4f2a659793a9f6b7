# SPDX-License-Identifier: Apache-2.0
"""One scenario on the simulated detector, with everything that must hold checked against what truly happened."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from fault_scenarios import Fault, Scenario
from numbered_messages import numbered_message
from sensor_msgs.msg import Image
from simulated_node import NON_FINITE, RAISED, SimulatedDetector
from simulated_world import SECOND
from vision_msgs.msg import Detection2DArray

from fusion_mamba_ros.ros.detector.message_conversion import to_nanoseconds
from fusion_mamba_ros.ros.detector.pair_names import PairNames
from fusion_mamba_ros.streams.frames import Camera

PERIOD_SEC = 0.1
TIMEOUT_SEC = 0.5
WARN, ERROR = 1, 2
REPORT_SEC = 1.1  # one report, and the jitter of a frame
RESUMED_SEC = 2.0
WELL_AGAIN_SEC = 9.0
REASONS = {"cut short": "data", "encoding": "no such encoding", "zero stamp": "its stamp is zero or negative"}


class FaultRun:
    """Cameras, faults and an observer around a simulated detector."""

    def __init__(self, scenario: Scenario, patch: pytest.MonkeyPatch, **parameters: Any) -> None:
        self.scenario = scenario
        self.detector = SimulatedDetector(patch, missing_modality=scenario.missing_modality, **parameters)
        self.world, self.predictor = self.detector.world, self.detector.predictor
        self.start_ns = self.world.steady_ns
        self.active: list[Fault] = []
        self.stamps: dict[tuple[Camera, int], set[int]] = defaultdict(set)
        self.delivered: dict[Camera, deque[int]] = {camera: deque() for camera in Camera}
        self.delivered_count = dict.fromkeys(Camera, 0)
        self.corrupted: dict[Camera, list[str]] = {camera: [] for camera in Camera}
        self.arrays: list[tuple[int, int]] = []  # steady time, stamp
        self.slowest_sec = self.predictor.duration_sec
        self.quiet_ticks = 0
        self.ticks = 0
        self.reported_levels: set[int] = set()
        self._numbers = dict.fromkeys(Camera, 0)
        self._last_due_ns = dict.fromkeys(Camera, 0)
        self._outcomes_seen = 0
        self._clock_stopped_ns: int | None = None
        self._clock_jumped_ns = self.start_ns
        self._last_trouble_ns = self.start_ns
        self._rng = np.random.default_rng(scenario.seed)
        self.violations: list[str] = []
        self.names: tuple[str, ...] = parameters.get("names", ("",))
        first = PairNames(self.names[0])
        self.world.published[first.topic("detections")].append(lambda message: self._hold(self._check_array, message))
        self.world.published["/diagnostics"].append(self._on_diagnostics)
        self._subject = f"{first.subject('detector_node')}: "

    def _hold(self, check: Callable[[Any], None], message: Any) -> None:
        """Note what a check finds: the node survives exceptions of its callbacks, so raised ones would be lost."""
        try:
            check(message)
        except AssertionError as error:
            active = [fault.kind for fault in self.active]
            self.violations.append(f"{error}\nat {self._now_sec():.2f} s, active: {active}")

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        if message.status[0].name.startswith(self._subject):
            self._hold(self._check_diagnostics, message)

    def run(self) -> None:
        """Run the scenario, then check that the node has recovered. Raise the first violation."""
        self._run()
        assert not self.violations, f"{len(self.violations)} violations, the first: {self.violations[0]}"

    def _run(self) -> None:
        self.world.at(self.start_ns, self._trigger)
        for fault in self.scenario.faults:
            self.world.at(self._at(fault.start_sec), partial(self._begin, fault))
            self.world.at(self._at(fault.end_sec), partial(self._end, fault))
        last_sec = max((fault.end_sec for fault in self.scenario.faults), default=0.0)
        late_sec = max((f.amount for f in self.scenario.faults if f.kind == "camera late"), default=0.0)
        # An inference that hangs lasts longer than its fault: `run_until` returns when it has ended.
        self.world.run_until(self._at(last_sec))
        before = len(self.arrays)
        resumed_sec = RESUMED_SEC + late_sec + 2 * self._longest_normal_sec()
        self.world.run_until(self._trouble_until_ns() + int(resumed_sec * SECOND))
        if len(self.arrays) <= before:
            self.violations.append(f"no output within {resumed_sec:.1f} s of the end of all faults")
        self.world.run_until(self._trouble_until_ns() + int((WELL_AGAIN_SEC + 2 * REPORT_SEC) * SECOND))
        assert self.ticks > WELL_AGAIN_SEC, "too few reports"

    def _at(self, seconds: float) -> int:
        return self.start_ns + int(seconds * SECOND)

    def _now_sec(self) -> float:
        return (self.world.steady_ns - self.start_ns) / SECOND

    def _longest_normal_sec(self) -> float:
        return max([f.amount for f in self.scenario.faults if f.kind in ("inference slow", "overload")], default=0.03)

    # Faults

    def _fault(self, kind: str, camera: Camera | None = None) -> Fault | None:
        return next((f for f in self.active if f.kind == kind and camera in (None, f.camera)), None)

    def _begin(self, fault: Fault) -> None:
        self.active.append(fault)
        if fault.kind == "clock stopped":
            self.world.clock_stopped, self._clock_stopped_ns = True, self.world.steady_ns
        elif fault.kind == "clock jumping":
            self.world.jump(int(fault.amount * SECOND))
            self._clock_jumped_ns = self.world.steady_ns
            self._clock_stopped_ns = self.world.steady_ns if self.world.clock_stopped else None
        self._set_inference()

    def _end(self, fault: Fault) -> None:
        self.active.remove(fault)
        if fault.kind == "clock stopped":
            self.world.clock_stopped, self._clock_stopped_ns = False, None
        self._last_trouble_ns = max(self._last_trouble_ns, self.world.steady_ns)
        self._set_inference()

    def _set_inference(self) -> None:
        normal = [f.amount for f in self.active if f.kind in ("inference slow", "overload")]
        hung = self._fault("inference hung")
        self.predictor.duration_sec = hung.amount if hung else max(normal, default=0.03)
        self.slowest_sec = max(self.slowest_sec, *normal, 0.03)
        self.predictor.fault = "nan" if self._fault("inference NaN") else ""
        if self._fault("inference raising"):
            self.predictor.fault = "raise"

    # Cameras

    def _trigger(self) -> None:
        """Let both cameras take an image, some milliseconds apart, once in each period."""
        period_sec = PERIOD_SEC / (3 if self._fault("overload") else 1)
        self.world.at(self.world.steady_ns + int(period_sec * SECOND), self._trigger)
        for camera in Camera:
            jitter_ns = int(self._rng.integers(0, SECOND // 200))
            self.world.at(self.world.steady_ns + jitter_ns, partial(self._take, camera))

    def _take(self, camera: Camera) -> None:
        """Take an image and send it, as far as the camera's faults allow."""
        if self._fault("camera dead", camera):
            return
        if not self._fault("camera frozen", camera):
            self._numbers[camera] += 1
        number, stamp_ns = self._numbers[camera], self.world.node_ns
        corrupt = self._fault("camera corrupt", camera)
        corruption = corrupt.corruption if corrupt and self._rng.random() < corrupt.amount else ""
        message = numbered_message(camera, number, 0 if corruption == "zero stamp" else stamp_ns)
        if corruption == "cut short":
            message.data = message.data[:-7]
        elif corruption == "encoding":
            message.encoding = "no such encoding"
        if not corruption:
            self.stamps[camera, number].add(stamp_ns)
        late = self._fault("camera late", camera)
        delay_sec = (late.amount if late else 0.0) + 0.005
        # A transport may be slow, but it keeps the order.
        due_ns = max(self.world.steady_ns + int(delay_sec * SECOND), self._last_due_ns[camera])
        self._last_due_ns[camera] = due_ns
        self.world.at(due_ns, lambda: self._deliver(camera, message, corruption))

    def _deliver(self, camera: Camera, message: Image, corruption: str) -> None:
        self.delivered[camera].append(self.world.steady_ns)
        self.delivered_count[camera] += 1
        if corruption:
            self.corrupted[camera].append(corruption)
        self.detector.receive(camera, message)

    # What comes out

    def _check_array(self, message: Detection2DArray) -> None:
        stamp_ns = to_nanoseconds(message.header.stamp)
        (detection,) = message.detections
        center = detection.bbox.center.position
        rgb, thermal = round(center.x) - 1, round(center.y) - 1
        camera, number = (Camera.RGB, rgb) if rgb else (Camera.THERMAL, thermal)
        assert stamp_ns in self.stamps[camera, number], f"the stamp is not that of {camera.value} image {number}"
        if self.arrays and not any(f.kind == "clock jumping" and f.amount < 0 for f in self.scenario.faults):
            assert stamp_ns > self.arrays[-1][1], "a stamp went back"
        self.arrays.append((self.world.steady_ns, stamp_ns))

    def _check_diagnostics(self, message: DiagnosticArray) -> None:
        self.ticks += 1
        reported = {status.name.rpartition(": ")[2]: status for status in message.status}
        self._check_counters()
        try:
            self._check_report(reported)
        except AssertionError as error:
            said = {name: (status.level[0], status.message) for name, status in reported.items()}
            raise AssertionError(f"{error}; reported {said}") from error
        finally:
            for kinds in self.corrupted.values():
                kinds.clear()
            self._outcomes_seen = len(self.predictor.outcomes)

    def _check_counters(self) -> None:
        counters, published = self.detector.session.counters()
        assert published <= len(self.arrays) <= published + 1
        for camera, counts in counters.items():
            values = dict(counts.items())
            received = values.pop("received")
            assert received == self.delivered_count[camera] == sum(values.values()), counts
            assert min(values.values()) >= 0, counts

    def _check_report(self, reported: dict[str, Any]) -> None:
        levels = {name: status.level[0] for name, status in reported.items()}
        worst = max(levels.values())
        self.reported_levels.add(worst)
        self._check_cameras(reported["cameras"], levels["cameras"])
        self._check_inference(reported["inference"], levels["inference"])
        self._check_output(levels["output"], worst)
        well_since_sec = (self.world.steady_ns - self._trouble_until_ns()) / SECOND
        before_faults = self._now_sec() < min((f.start_sec for f in self.scenario.faults), default=1e9)
        if (before_faults and self._now_sec() > 2) or well_since_sec > WELL_AGAIN_SEC:
            assert worst == 0, "a false alarm"
            rates = [float(v.value) for v in reported["cameras"].values if v.key.endswith("rate (Hz)")]
            assert rates == pytest.approx([10, 10], rel=0.25)

    def _trouble_until_ns(self) -> int:
        late_sec = max((f.amount for f in self.scenario.faults if f.kind == "camera late"), default=0.0)
        since_ns = self.predictor.running_since_ns
        busy = since_ns is not None and self.world.steady_ns - since_ns > SECOND
        if self.active or busy:
            self._last_trouble_ns = self.world.steady_ns
        ends_ns = self._at(max((f.end_sec for f in self.scenario.faults), default=0.0) + late_sec)
        return max(self._last_trouble_ns, ends_ns)

    def _check_cameras(self, status: Any, level: int) -> None:
        now_ns, words = self.world.steady_ns, status.message
        for value in status.values:
            if value.key.endswith("rate (Hz)"):
                assert float(value.value) < 45, f"{value.key} is {value.value}"
        clock_sec = 0.0 if self._clock_stopped_ns is None else (now_ns - self._clock_stopped_ns) / SECOND
        # Timeouts begin anew with a jump of the clock; while it stands still, the steady clock is slower to judge.
        patience_sec = TIMEOUT_SEC + (3 * REPORT_SEC if self.scenario.has("clock stopped") else REPORT_SEC)
        silent = {
            camera: (now_ns - max(times[-1] if times else self.start_ns, self._clock_jumped_ns)) / SECOND
            for camera, times in self.delivered.items()
        }
        for camera, seconds in silent.items():
            if seconds > patience_sec:
                assert level >= WARN and f"{camera.value} is missing" in words, f"no {camera.value}: {seconds:.1f} s"
        if max(silent.values()) > patience_sec and self.scenario.missing_modality == "stop":
            assert level == ERROR, "a camera is missing"
        if min(silent.values()) > patience_sec:
            assert level == ERROR, "both cameras are missing"
        if clock_sec > 2 + 2 * REPORT_SEC:
            assert level == ERROR and "the node's clock has stood still" in words
        if self._clock_stopped_ns is None:
            assert "stood still" not in words, "the clock runs"
        for camera, kinds in self.corrupted.items():
            if kinds:
                assert level >= WARN and f"{camera.value} images refused: " in words, f"{len(kinds)} refused"
                assert any(REASONS[kind] in words for kind in kinds)

    def _check_inference(self, status: Any, level: int) -> None:
        words, running_ns = status.message, self.predictor.running_since_ns
        running_sec = 0.0 if running_ns is None else (self.world.steady_ns - running_ns) / SECOND
        if running_sec > max(2.0, 10 * self.slowest_sec):
            assert level == ERROR and "inference has not ended" in words, f"an inference runs for {running_sec:.1f} s"
        if "has not ended" in words:
            assert running_sec > 2.0
        recent = self.predictor.outcomes[self._outcomes_seen :]
        failed = [outcome for outcome in recent if outcome]
        if failed:
            assert level >= WARN
            assert (NON_FINITE if failed[-1] == "nan" else RAISED) in words
        if len(self.predictor.outcomes) >= 3 and all(self.predictor.outcomes[-3:]):
            assert level == ERROR
        values = {value.key: value.value for value in status.values}
        assert values["inferences with non-finite output"] == str(self.predictor.outcomes.count("nan"))

    def _check_output(self, level: int, worst: int) -> None:
        """Check that diagnostics are never OK without output, or with far less output than the cameras allow."""
        now_ns = self.world.steady_ns
        age_sec = (now_ns - (self.arrays[-1][0] if self.arrays else self.start_ns)) / SECOND
        recent = {camera: sum(now_ns - t <= 5 * SECOND for t in times) for camera, times in self.delivered.items()}
        slowest_sec = max((5 / (count - 1) for count in recent.values() if count > 1), default=0.0)
        pace_sec = slowest_sec + 2 * len(self.names) * self.slowest_sec
        if age_sec > TIMEOUT_SEC + pace_sec + 0.01:
            assert level >= WARN, f"no output for {age_sec:.1f} s"
        if age_sec > TIMEOUT_SEC + pace_sec + max(2.0, 2 * pace_sec) + 0.01:
            assert level == ERROR, f"no output for {age_sec:.1f} s"
        arrived = min(sum(now_ns - t <= SECOND for t in times) for times in self.delivered.values())
        published = sum(now_ns - t <= SECOND for t, _ in self.arrays)
        self.quiet_ticks = self.quiet_ticks + 1 if arrived >= 5 and published < 0.4 * arrived else 0
        if self.quiet_ticks >= 2:
            assert worst >= WARN, f"{published} arrays of {arrived} pairs in the last second"
