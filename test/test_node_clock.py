# SPDX-License-Identifier: Apache-2.0
"""The node on simulated time: timeouts follow /clock, and a clock that jumps is followed."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

pytest.importorskip("rclpy")

from detector_graph import ERROR, OK, DetectorProcess, Graph, running_detector, wait_until
from ros_cameras import Cameras
from ros_clock import HOUR_NS, SimulatedClock

from fusion_mamba_ros.ros.detector.message_conversion import to_nanoseconds
from fusion_mamba_ros.streams.frames import Camera

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
    cameras.running[Camera.THERMAL] = False
    clock.paused = True
    time.sleep(0.2)
    start = len(graph.statuses)
    time.sleep(1.5)
    assert [s.mode for s in graph.statuses[start:] if s.mode == "rgb_only"] == []
    clock.paused = False
    wait_until(lambda: graph.statuses[-1].mode == "rgb_only", "the timeout, once the clock runs")
    cameras.running[Camera.THERMAL] = True
    fused_again(graph)


def rates_hz(graph: Graph) -> list[float]:
    status = graph.diagnostics["cameras"]
    return [float(value.value) for value in status.values if value.key.endswith("rate (Hz)")]


def test_a_clock_that_stops_and_cameras_that_stop_after_it_are_an_error_with_true_rates(simulation: Simulation) -> None:
    _, graph, clock, cameras = simulation
    clock.silent = True
    graph.wait_for_health("cameras", ERROR, "the node's clock has stood still")
    cameras.running = dict.fromkeys(Camera, False)
    graph.wait_for_health("cameras", ERROR, "no camera delivers fresh images")
    graph.wait_for_health("output", ERROR, "no output for")
    assert max(rates_hz(graph)) < 1.2 / cameras.period_sec
    cameras.running = dict.fromkeys(Camera, True)
    clock.silent = False
    fused_again(graph)
    graph.wait_for_health("cameras", OK)
    graph.wait_for_health("output", OK)


def test_rates_are_true_after_a_bag_loops(simulation: Simulation) -> None:
    _, graph, clock, cameras = simulation
    for _ in range(3):
        clock.now_ns -= 2 * 10**9
        graph.diagnostics.clear()
        wait_until(lambda: "cameras" in graph.diagnostics, "a report")
        assert max(rates_hz(graph)) < 1.2 / cameras.period_sec
    fused_again(graph)
