# SPDX-License-Identifier: Apache-2.0
"""How the node starts, changes state and ends."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

import rclpy
from detector_graph import DetectorProcess, Graph, isolate, running_detector, wait_until
from lifecycle_msgs.msg import Transition
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_cameras import Cameras
from stand_in_detector import HANG, StandIn
from vision_msgs.msg import LabelInfo

from fusion_mamba_ros.perception.calibration import Calibration
from fusion_mamba_ros.perception.mode import modes_of
from fusion_mamba_ros.ros.detector.detector_node import DetectorNode
from fusion_mamba_ros.ros.detector.message_conversion import to_nanoseconds
from fusion_mamba_ros.ros.detector.outputs import Outputs
from fusion_mamba_ros.ros.detector.parameters import DetectorParameters

SUCCESS = TransitionCallbackReturn.SUCCESS


@pytest.fixture
def detector(tmp_path: Path) -> Iterator[tuple[DetectorProcess, Graph]]:
    with running_detector(tmp_path / "detector.log", "checkpoint:=stand-in", active=False) as (detector, graph):
        yield detector, graph


def set_parameter(graph: Graph, name: str, value: str | float) -> tuple[bool, str]:
    """Set a parameter through the node's service, as `ros2 param set` does."""
    if isinstance(value, str):
        message = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=value)
    else:
        message = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value)
    request = SetParameters.Request(parameters=[ParameterMessage(name=name, value=message)])
    (result,) = graph.call(SetParameters, "detector_node/set_parameters", request).results
    return result.successful, result.reason


def test_the_ways_of_a_lifecycle(detector: tuple[DetectorProcess, Graph]) -> None:
    process, graph = detector
    assert set_parameter(graph, "checkpoint", "bad") == (True, "")
    assert not graph.transition(Transition.TRANSITION_CONFIGURE)
    assert graph.state() == "unconfigured"
    assert "configure failed: checkpoint 'bad' cannot be read" in process.log

    assert not graph.transition(Transition.TRANSITION_ACTIVATE), "an illegal transition"
    assert graph.state() == "unconfigured"

    assert set_parameter(graph, "checkpoint", "good") == (True, "")
    graph.activate()
    assert graph.state() == "active"
    accepted, reason = set_parameter(graph, "checkpoint", "other")
    assert not accepted
    assert "while the node is unconfigured" in reason

    cameras = Cameras(graph)
    wait_until(lambda: len(graph.arrays) >= 3, "arrays")
    assert set_parameter(graph, "score_threshold", 0.7) == (True, "")
    assert graph.transition(Transition.TRANSITION_DEACTIVATE)
    inactive_ns = time.time_ns()
    time.sleep(0.5)
    count = len(graph.arrays)
    assert to_nanoseconds(graph.arrays[-1].header.stamp) < inactive_ns, "an inactive node publishes nothing"
    assert graph.transition(Transition.TRANSITION_ACTIVATE)
    wait_until(lambda: len(graph.arrays) > count, "arrays after the second activation")

    labels: list[LabelInfo] = []
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    graph.node.create_subscription(LabelInfo, "label_info", labels.append, latched)
    wait_until(lambda: labels, "the labels, for a subscriber that joins late")
    assert [(c.class_id, c.class_name) for c in labels[-1].class_map] == [(0, "person"), (1, "car")]
    assert labels[-1].threshold == pytest.approx(0.7)

    assert graph.transition(Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert graph.state() == "finalized"
    assert process.process.poll() is None
    cameras.close()


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGINT, "unconfigured"),
        (signal.SIGTERM, "waiting"),
        (signal.SIGINT, "in mid-inference"),
        (signal.SIGTERM, "in mid-inference"),
    ],
)
def test_a_signal_ends_the_process_with_code_0(
    detector: tuple[DetectorProcess, Graph], number: int, moment: str
) -> None:
    process, graph = detector
    graph.state()
    if moment != "unconfigured":
        graph.activate()
    if moment == "in mid-inference":
        cameras = Cameras(graph)
        cameras.first_pixel = HANG
        # Frames are matched, and all but the one in inference are dropped.
        wait_until(lambda: graph.statuses and graph.statuses[-1].rgb.dropped > 3, "an inference that takes long")
        cameras.close()
    segments = process.shared_memory()
    assert segments
    assert process.stop(number) == 0, process.log
    assert not [path for path in segments if path.exists()]


def test_a_bad_start_value_ends_the_process_with_one_sentence(tmp_path: Path) -> None:
    with running_detector(tmp_path / "log", "score_threshold:=7.5", active=False) as (process, _):
        assert process.process.wait(60) == 2
        assert process.log.splitlines()[-1].endswith("parameter score_threshold is 7.5: expected 0 to 1, or -1")
        assert "Traceback" not in process.log


def test_a_fixed_qos_that_the_publisher_does_not_offer_is_named(tmp_path: Path) -> None:
    override = "qos_overrides./rgb/image_raw.subscription.durability:=transient_local"
    with running_detector(tmp_path / "log", "checkpoint:=stand-in", override) as (process, graph):
        cameras = Cameras(graph)
        wait_until(lambda: "incompatible durability" in process.log, "a warning")
        assert "/rgb/image_raw: a publisher offers an incompatible durability" in process.log
        cameras.close()


class DepthStandIn(StandIn):
    """A stand-in of a checkpoint with depth and a stored score threshold."""

    def __init__(self, parameters: DetectorParameters) -> None:
        super().__init__(parameters)
        self.modes = modes_of(("rgb", "thermal", "depth"))
        self.metadata = replace(self.metadata, calibration=Calibration((1.0, 1.0), 0.375))


def test_label_info_publishes_the_score_threshold_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    published: list[float] = []
    monkeypatch.setattr(Outputs, "publish_labels", lambda outputs, threshold: published.append(threshold))
    isolate()
    context = Context()
    rclpy.init(context=context)
    node = DetectorNode(context=context, load=DepthStandIn)
    assert node.trigger_configure() == SUCCESS
    for value in (0.5, -1.0):
        assert node.set_parameters([Parameter("score_threshold", value=value)])[0].successful
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(node)
    for _ in range(5):
        executor.spin_once(timeout_sec=0.05)
    assert (published[0], published[-1]) == (0.375, 0.375) and 0.5 in published
    node.destroy_node()
    context.try_shutdown()


@pytest.mark.parametrize("topic", ["/thermal/image_raw", "/depth/image_raw"])
@pytest.mark.parametrize(("policy", "value"), [("reliability", "sometimes"), ("depth", "many")])
def test_an_activation_that_fails_leaves_nothing_subscribed(topic: str, policy: str, value: str) -> None:
    isolate()
    context = Context()
    rclpy.init(context=context)
    overrides = [
        Parameter("checkpoint", value="stand-in"),
        Parameter(f"qos_overrides.{topic}.subscription.{policy}", value=value),
    ]
    node = DetectorNode(context=context, load=DepthStandIn, parameter_overrides=overrides)
    assert node.trigger_configure() == SUCCESS
    before = [subscription.topic_name for subscription in node.subscriptions]
    assert node.trigger_activate() == TransitionCallbackReturn.FAILURE
    assert [subscription.topic_name for subscription in node.subscriptions] == before
    node.destroy_node()
    context.try_shutdown()


def _has_arrays(graph: Graph) -> bool:
    return len(graph.arrays) >= 3


def test_two_nodes_in_namespaces_share_one_process_and_one_executor() -> None:
    isolate()
    context = Context()
    rclpy.init(context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    override = [Parameter("checkpoint", value="stand-in")]
    nodes = [
        DetectorNode(namespace=name, context=context, load=StandIn, parameter_overrides=override)
        for name in ("front", "rear")
    ]
    for node in nodes:
        executor.add_node(node)
        assert node.trigger_configure() == SUCCESS
        assert node.trigger_activate() == SUCCESS
    spinning = threading.Thread(target=_spin, args=(executor,), daemon=True)
    spinning.start()
    graphs = [Graph(namespace=name) for name in ("front", "rear")]
    cameras = [Cameras(graph) for graph in graphs]
    for graph in graphs:
        wait_until(partial(_has_arrays, graph), f"arrays in {graph.node.get_namespace()}")
    for camera in cameras:
        camera.close()
    for graph in graphs:
        graph.counters_add_up()
        graph.close()
    executor.shutdown()
    spinning.join()
    for node in nodes:
        node.destroy_node()
    context.try_shutdown()


def _spin(executor: rclpy.executors.Executor) -> None:
    try:
        executor.spin()
    except rclpy.executors.ExternalShutdownException:
        return


def test_a_hundred_lifecycles_leak_no_thread_handle_or_memory() -> None:
    isolate()
    context = Context()
    rclpy.init(context=context)
    node = DetectorNode(context=context, load=StandIn, parameter_overrides=[Parameter("checkpoint", value="stand-in")])

    def cycle() -> None:
        triggers: tuple[Any, ...] = (
            node.trigger_configure,
            node.trigger_activate,
            node.trigger_deactivate,
            node.trigger_activate,
            node.trigger_deactivate,
            node.trigger_cleanup,
        )
        for trigger in triggers:
            assert trigger() == SUCCESS

    for _ in range(20):
        cycle()
    before, resident_before = _resources(node), _resident_bytes()
    for _ in range(80):
        cycle()
    after = _resources(node)
    node.destroy_node()
    context.try_shutdown()
    assert after == before, "threads, file descriptors, entities, objects"
    # How the allocator keeps pages decides about megabytes. One colour image of 640x480 kept in each round would be
    # 74 MB, one predictor more.
    assert _resident_bytes() - resident_before < 32_000_000


def _resources(node: Node) -> tuple[int, int, int, Counter[str]]:
    gc.collect()
    entities = sum(len(list(kind)) for kind in (node.subscriptions, node.publishers, node.timers, node.services))
    packages = ("fusion_mamba_ros", "rclpy", "message_filters", "diagnostic_updater", "stand_in_detector")
    objects = Counter(
        f"{type(thing).__module__}.{type(thing).__qualname__}"
        for thing in gc.get_objects()
        if str(type(thing).__module__).partition(".")[0] in packages
    )
    return threading.active_count(), len(os.listdir("/proc/self/fd")), entities, objects


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
