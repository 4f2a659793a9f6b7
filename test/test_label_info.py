# SPDX-License-Identifier: Apache-2.0
"""Class names on `label_info`, also before simulated time runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("rclpy")

import numpy as np
import rclpy
from detector_graph import PATIENCE_SEC, isolate
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from vision_msgs.msg import LabelInfo

from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling
from fusion_mamba_ros.ros.bag_tools.replay_observer import spin_executor_until
from fusion_mamba_ros.ros.detector.message_conversion import to_nanoseconds, to_stamp
from fusion_mamba_ros.ros.detector.outputs import Outputs

START_NS = 7_200_000_000_000


class Labels:
    """The outputs of a node on simulated time, and a subscriber of its labels."""

    def __init__(self, context: Context) -> None:
        self.executor = SingleThreadedExecutor(context=context)
        simulated = [Parameter("use_sim_time", value=True)]
        self.node = LifecycleNode("labels", context=context, parameter_overrides=simulated)
        self.peer = Node("peer", context=context)
        for node in (self.node, self.peer):
            self.executor.add_node(node)
        self.clock = self.peer.create_publisher(Clock, "/clock", 10)
        self.received: list[tuple[int, float]] = []
        latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.peer.create_subscription(LabelInfo, "label_info", self.receive, latched)
        self.outputs = Outputs(self.node, ["person"], ThermalScaling(), np.eye(3))

    def receive(self, message: LabelInfo) -> None:
        self.received.append((to_nanoseconds(message.header.stamp), round(message.threshold, 3)))

    def wait(self, condition: Callable[[], bool], *, clock_runs: bool = False) -> None:
        def met() -> bool:
            if clock_runs:
                self.clock.publish(Clock(clock=to_stamp(START_NS)))
            return condition()

        assert spin_executor_until(self.executor, met, PATIENCE_SEC), self.received


@pytest.fixture
def labels() -> Iterator[Labels]:
    isolate()
    context = Context()
    rclpy.init(context=context)
    labels = Labels(context)
    yield labels
    labels.executor.shutdown()
    labels.node.destroy_node()
    labels.peer.destroy_node()
    rclpy.shutdown(context=context)


def test_labels_come_before_the_clock_runs_and_again_with_a_stamp(labels: Labels) -> None:
    labels.outputs.publish_labels(0.25)
    labels.wait(lambda: len(labels.received) == 1)
    assert labels.received == [(0, 0.25)]
    labels.wait(lambda: len(labels.received) > 1, clock_runs=True)
    assert labels.received == [(0, 0.25), (START_NS, 0.25)]


def test_a_threshold_that_changes_before_the_clock_runs_is_the_one_that_is_repeated(labels: Labels) -> None:
    labels.outputs.publish_labels(0.25)
    labels.outputs.publish_labels(0.5)
    labels.wait(lambda: labels.received[-1:] == [(START_NS, 0.5)], clock_runs=True)
    assert (START_NS, 0.25) not in labels.received


def test_nothing_is_repeated_after_the_outputs_were_closed(labels: Labels) -> None:
    labels.outputs.publish_labels(0.25)
    labels.wait(lambda: len(labels.received) == 1)
    labels.outputs.close()
    labels.wait(lambda: labels.node.get_clock().now().nanoseconds == START_NS, clock_runs=True)
    spin_executor_until(labels.executor, lambda: False, 0.5)
    assert len(labels.received) == 1


def test_labels_are_published_once_where_the_clock_runs(labels: Labels) -> None:
    labels.wait(lambda: labels.node.get_clock().now().nanoseconds == START_NS, clock_runs=True)
    labels.outputs.publish_labels(0.25)
    labels.wait(lambda: len(labels.received) == 1)
    spin_executor_until(labels.executor, lambda: False, 0.5)
    assert labels.received == [(START_NS, 0.25)]
