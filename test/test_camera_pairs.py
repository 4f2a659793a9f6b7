# SPDX-License-Identifier: Apache-2.0
"""Several camera pairs on simulated clocks: what happens to one changes nothing for the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from fault_run import FaultRun
from fault_scenarios import draw_scenario
from numbered_messages import numbered_message
from sensor_msgs.msg import CameraInfo
from simulated_node import SimulatedDetector
from simulated_world import MS, SECOND

from fusion_mamba_ros.ros.detector.message_conversion import to_nanoseconds
from fusion_mamba_ros.streams.frames import Camera

NAMES = ("front", "rear")
PERIOD_NS = 100 * MS
# Kinds of faults that all pairs share: the clock, and the thread that pairs take turns on.
SHARED = {"clock stopped", "clock jumping", "inference slow", "inference hung", "overload"}


class PairsRun:
    """Two simulated pairs of cameras, with the arrays of each and their ages."""

    def __init__(self, patch: pytest.MonkeyPatch, **parameters: Any) -> None:
        self.detector = SimulatedDetector(patch, names=NAMES, **parameters)
        self.world = self.detector.world
        self.health: dict[str, Any] = {}
        self.ages_ms: dict[str, list[float]] = {name: [] for name in NAMES}
        self.stamps: dict[str, list[int]] = {name: [] for name in NAMES}
        self.statuses: dict[str, Any] = {}
        self._number = 0
        self.world.published["/diagnostics"].append(self._on_diagnostics)
        for name in NAMES:
            self.world.published[f"{name}/detections"].append(partial(self._on_array, name))
            self.world.published[f"~/{name}/status"].append(partial(self._on_status, name))

    def _on_array(self, name: str, message: Any) -> None:
        self.stamps[name].append(to_nanoseconds(message.header.stamp))

    def _on_status(self, name: str, status: Any) -> None:
        self.statuses[name] = status
        if status.mode != "none":
            self.ages_ms[name].append(status.age_sec * 1e3)

    def _on_diagnostics(self, message: Any) -> None:
        self.health |= {status.name: status for status in message.status}

    def play(self, seconds: float, *, periods_ns: dict[str, int | None]) -> None:
        """Let the cameras of each pair send with its period for a while; None: nothing."""
        start_ns = self.world.steady_ns
        for index, (name, period_ns) in enumerate(periods_ns.items()):
            for sent_ns in range(0, int(seconds * SECOND), period_ns) if period_ns else ():
                self._number += 1
                for camera in Camera:
                    stamp_ns = self.world.node_ns + sent_ns
                    message = numbered_message(camera, self._number % 60_000, stamp_ns)
                    pair = self.detector.pairs[name]
                    self.world.at(start_ns + sent_ns + (5 + index) * MS, partial(pair.receive, camera, message))
        self.world.run_until(start_ns + int(seconds * SECOND))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[PairsRun]:
    run = PairsRun(monkeypatch)
    yield run
    for pair in run.detector.pairs.values():
        pair.session.close()


def levels(run: PairsRun, name: str) -> dict[str, int]:
    prefix = f"detector_node {name}: "
    return {key.removeprefix(prefix): s.level[0] for key, s in run.health.items() if key.startswith(prefix)}


def test_each_pair_has_its_own_topics_and_diagnostics(run: PairsRun) -> None:
    run.play(3.0, periods_ns=dict.fromkeys(NAMES, PERIOD_NS))
    for name in NAMES:
        assert len(run.stamps[name]) >= 29
        assert levels(run, name) == dict.fromkeys(("cameras", "pairing", "inference", "output"), 0)
    assert len(run.health) == 8
    subscribed = set(run.world.subscribed)
    assert subscribed == {f"/{name}/{camera.value}/camera_info" for name in NAMES for camera in Camera}


@pytest.mark.parametrize("rear_period_ns", [None, 10 * MS], ids=["dead", "flooding"])
def test_a_dead_or_flooding_pair_leaves_the_other_as_it_was(run: PairsRun, rear_period_ns: int | None) -> None:
    run.play(5.0, periods_ns=dict.fromkeys(NAMES, PERIOD_NS))
    before = np.percentile(run.ages_ms["front"], 99)
    run.ages_ms["front"].clear()
    arrays = len(run.stamps["front"])
    run.play(6.0, periods_ns={"front": PERIOD_NS, "rear": rear_period_ns})
    assert len(run.stamps["front"]) - arrays >= 59
    # One inference of the other pair may be under way: 30 ms.
    assert np.percentile(run.ages_ms["front"], 99) <= before + 30 + 1
    assert levels(run, "front") == dict.fromkeys(("cameras", "pairing", "inference", "output"), 0)
    rear = levels(run, "rear")
    if rear_period_ns is None:
        assert (rear["cameras"], rear["output"]) == (2, 2)
    else:
        assert rear["pairing"] == 1, "dropped pairs of the flood are reported"
    run.play(7.0, periods_ns=dict.fromkeys(NAMES, PERIOD_NS))
    assert levels(run, "rear") == dict.fromkeys(("cameras", "pairing", "inference", "output"), 0)


def test_a_flood_takes_every_second_turn_and_no_more(run: PairsRun) -> None:
    for pair in run.detector.pairs.values():
        pair.predictor.duration_sec = 0.2
    run.play(5.0, periods_ns={"front": PERIOD_NS, "rear": 20 * MS})
    front, rear = (len(run.stamps[name]) for name in NAMES)
    assert abs(front - rear) <= 1 and front + rear >= 24
    # The newest images are used: at most one period old when their turn comes.
    assert max(run.ages_ms["front"]) <= 200 + 100 + 1


def test_an_inference_that_fails_for_one_pair_does_not_fail_for_the_other(run: PairsRun) -> None:
    run.detector.pairs["rear"].predictor.fault = "raise"
    run.play(3.0, periods_ns=dict.fromkeys(NAMES, PERIOD_NS))
    assert levels(run, "rear")["inference"] == 2
    assert levels(run, "front") == dict.fromkeys(("cameras", "pairing", "inference", "output"), 0)
    assert run.statuses["front"].rgb.failed == 0


def test_the_log_says_which_pair_a_fault_is_of(run: PairsRun) -> None:
    rear = run.detector.pairs["rear"]
    rear.predictor.fault = "raise"
    run.play(1.0, periods_ns=dict.fromkeys(NAMES, PERIOD_NS))
    rear.receive(Camera.THERMAL, numbered_message(Camera.THERMAL, 1, 0))
    distorted = CameraInfo(distortion_model="none", d=[0.1, 0.0, 0.0, 0.0])
    run.world.subscribed["/rear/rgb/camera_info"](distorted)
    faults = {text.partition(":")[0]: text for text in run.world.logged if not text.startswith("no topics")}
    assert set(faults) == {"rear"}, run.world.logged
    for fault in ("inference failed", "thermal image refused", "rgb images are not rectified"):
        assert any(text.startswith(f"rear: {fault}") for text in run.world.logged), fault


def test_each_pair_has_its_own_track_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    run = PairsRun(monkeypatch, tracking=True)
    ids: dict[str, set[str]] = defaultdict(set)

    def note(name: str, message: Any) -> None:
        ids[name].update(detection.id for detection in message.detections)

    for name in NAMES:
        run.world.published[f"{name}/detections"].append(partial(note, name))
    run.play(1.0, periods_ns=dict.fromkeys(NAMES, PERIOD_NS))
    assert "1" in ids["front"] and "1" in ids["rear"]


class PairsFaultRun(FaultRun):
    """Faults of the first pair, while the second one is well and must stay so."""

    def __init__(self, *arguments: Any, **parameters: Any) -> None:
        super().__init__(*arguments, names=NAMES, **parameters)
        self.rear = self.detector.pairs["rear"]
        self.rear_ticks = 0
        self._rear_number = 0
        self.world.at(self.start_ns, self._trigger_rear)

    def _trigger_rear(self) -> None:
        self.world.at(self.world.steady_ns + PERIOD_NS, self._trigger_rear)
        self._rear_number += 1
        for camera in Camera:
            message = numbered_message(camera, self._rear_number % 60_000, self.world.node_ns)
            self.world.at(self.world.steady_ns + 5 * MS, partial(self.rear.receive, camera, message))

    def _on_diagnostics(self, message: Any) -> None:
        super()._on_diagnostics(message)
        if not message.status[0].name.startswith("detector_node rear: "):
            return
        counters, _ = self.rear.session.counters()
        for counts in counters.values():
            values = dict(counts.items())
            assert values.pop("received") == sum(values.values()), counts
        self.rear_ticks += 1
        if self._now_sec() > 2 and not any(self.scenario.has(kind) for kind in SHARED):
            said = {status.name: status.message for status in message.status if status.level != b"\x00"}
            if said:
                self.violations.append(f"rear is not well at {self._now_sec():.2f} s: {said}")


@pytest.mark.parametrize("seed", range(30, 38))
def test_combinations_of_faults_of_one_of_two_pairs(seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        run = PairsFaultRun(draw_scenario(seed), patch)
        run.run()
        assert run.rear_ticks > 10
