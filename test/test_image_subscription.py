# SPDX-License-Identifier: Apache-2.0
"""One image topic as a message filter, by the interfaces that every release has."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("rclpy")

import message_filters
import rclpy
from detector_graph import isolate, wait_until
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from fusion_mamba_ros.ros.detector.image_subscription import ImageSubscription
from fusion_mamba_ros.ros.detector.parameter_spec import ParameterError


@pytest.mark.parametrize("reliability", [ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT])
def test_images_arrive_without_the_subscriber_of_message_filters(
    monkeypatch: pytest.MonkeyPatch, reliability: ReliabilityPolicy
) -> None:
    # message_filters 4.3.12 (Humble) and 4.11.10 (Jazzy) have one that takes no event callbacks.
    monkeypatch.delattr(message_filters, "Subscriber")
    isolate()
    context = rclpy.Context()
    rclpy.init(context=context)
    node = LifecycleNode("receiver", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    got: list[Image] = []
    subscription = ImageSubscription(node, "camera/image_raw", compressed=False)
    subscription.registerCallback(got.append)
    publisher = node.create_publisher(Image, "camera/image_raw", QoSProfile(depth=1, reliability=reliability))

    def arrived() -> bool:
        publisher.publish(Image(height=7))
        executor.spin_once(timeout_sec=0.05)
        return bool(got)

    try:
        wait_until(arrived, "an image")
        assert got[0].height == 7
    finally:
        subscription.close()
        executor.shutdown()
        node.destroy_node()
        context.shutdown()


@pytest.fixture
def make_node() -> Iterator[Callable[..., LifecycleNode]]:
    isolate()
    context = rclpy.Context()
    rclpy.init(context=context)
    nodes: list[LifecycleNode] = []

    def make(*rules: str, **overrides: object) -> LifecycleNode:
        arguments = [part for rule in rules for part in ("-r", rule)]
        values = [
            Parameter(f"qos_overrides./camera/image_raw.subscription.{name}", value=value)
            for name, value in overrides.items()
        ]
        cli = ["--ros-args", *arguments]
        nodes.append(LifecycleNode("receiver", context=context, cli_args=cli, parameter_overrides=values))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    context.shutdown()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("thermal", ["/rgb/image_raw", "/lwir/image_raw"], ids=["swap", "chain"])
def test_a_topic_is_remapped_once(make_node: Callable[..., LifecycleNode], thermal: str, compressed: bool) -> None:
    suffix = "/compressed" if compressed else ""
    node = make_node("rgb/image_raw:=/thermal/image_raw", f"thermal/image_raw:={thermal}")
    names = ("rgb/image_raw", "thermal/image_raw")
    subscriptions = [ImageSubscription(node, name, compressed=compressed) for name in names]
    topics = [f"/thermal/image_raw{suffix}", f"{thermal}{suffix}"]
    assert [subscription.topic for subscription in subscriptions] == topics
    assert [subscription.topic_name for subscription in node.subscriptions] == topics


def test_the_compressed_topic_itself_may_be_remapped(make_node: Callable[..., LifecycleNode]) -> None:
    node = make_node("camera/image_raw/compressed:=/jpeg", "camera/image_raw:=/other")
    assert ImageSubscription(node, "camera/image_raw", compressed=True).topic == "/jpeg"


@pytest.mark.parametrize(
    ("policy", "value", "expected"),
    [
        ("depth", -5, "is -5: expected a whole number, 1 to 10000"),
        ("depth", "many", "is 'many': expected a whole number, 1 to 10000"),
        ("reliability", "sometimes", "is 'sometimes': expected one of reliable, best_effort, best_available"),
        ("durability", 3, "is 3: expected one of volatile, transient_local"),
    ],
)
def test_a_qos_override_that_is_not_allowed_is_one_sentence(
    make_node: Callable[..., LifecycleNode], policy: str, value: object, expected: str
) -> None:
    node = make_node(**{policy: value})
    with pytest.raises(ParameterError) as error:
        ImageSubscription(node, "camera/image_raw", compressed=False)
    assert str(error.value) == f"parameter qos_overrides./camera/image_raw.subscription.{policy} {expected}"
    assert not list(node.subscriptions)
