# SPDX-License-Identifier: Apache-2.0
"""The node on simulated time: timeouts follow /clock, and a clock that jumps is followed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

pytest.importorskip("rclpy")

from detector_graph import ERROR, DetectorProcess, Graph, running_detector, wait_until
from ros_cameras import Cameras
from rosgraph_msgs.msg import Clock

from fusion_mamba_ros.ros.message_conversion import to_nanoseconds, to_stamp
from fusion_mamba_ros.streams.frames import Side

HOUR_NS = 3600 * 10**9


class SimulatedClock:
    """Publishes /clock every 10 ms, at the speed of real time unless it is paused or set."""

    def __init__(self, graph: Graph) -> None:
        self.now_ns = 2 * HOUR_NS
        self.paused = False
        self._publisher = graph.node.create_publisher(Clock, "/clock", 10)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        before = time.monotonic_ns()
        while not self._stop.wait(0.01):
            now = time.monotonic_ns()
            if not self.paused:
                self.now_ns += now - before
            before = now
            self._publisher.publish(Clock(clock=to_stamp(self.now_ns)))

    def close(self) -> None:
        """Stop publishing."""
        self._stop.set()
        self._thread.join()


Simulation = tuple[DetectorProcess, Graph, SimulatedClock, Cameras]


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    log = tmp_path_factory.mktemp("clock") / "detector.log"
    with running_detector(log, "checkpoint:=stand-in", "use_sim_time:=true") as (detector, graph):
        graph.wait_for_health("cameras", ERROR, "use_sim_time is set and no /clock arrives")
        clock = SimulatedClock(graph)
        cameras = Cameras(graph, now_ns=lambda: clock.now_ns)
        wait_until(lambda: len(graph.arrays) >= 3, "arrays")
        yield detector, graph, clock, cameras
        cameras.close()
        clock.close()
        assert detector.process.poll() is None, detector.log
        graph.counters_add_up()


def newest_stamp_ns(graph: Graph) -> int:
    return to_nanoseconds(graph.arrays[-1].header.stamp)


def fused_again(graph: Graph) -> None:
    start = len(graph.statuses)
    wait_until(lambda: [s.mode for s in graph.statuses[start:]][-3:] == ["fused"] * 3, "three pairs")


@pytest.mark.parametrize("jump_ns", [HOUR_NS, -HOUR_NS])
def test_a_clock_that_jumps_is_followed(simulation: Simulation, jump_ns: int) -> None:
    _, graph, clock, _ = simulation
    clock.now_ns += jump_ns
    target_ns = clock.now_ns
    wait_until(lambda: abs(newest_stamp_ns(graph) - target_ns) < HOUR_NS // 2, "arrays with the new stamps")
    fused_again(graph)


def test_diagnostics_go_on_while_the_clock_stands_still(simulation: Simulation) -> None:
    _, graph, clock, _ = simulation
    clock.paused = True
    time.sleep(1.5)
    graph.diagnostics.clear()
    wait_until(lambda: "cameras" in graph.diagnostics, "a report without a clock")
    clock.paused = False
    fused_again(graph)


def test_timeouts_stand_still_with_the_clock(simulation: Simulation) -> None:
    _, graph, clock, cameras = simulation
    fused_again(graph)
    cameras.running[Side.THERMAL] = False
    clock.paused = True
    time.sleep(0.2)
    start = len(graph.statuses)
    time.sleep(1.5)
    assert [s.mode for s in graph.statuses[start:] if s.mode == "rgb_only"] == []
    clock.paused = False
    wait_until(lambda: graph.statuses[-1].mode == "rgb_only", "the timeout, once the clock runs")
    cameras.running[Side.THERMAL] = True
    fused_again(graph)
