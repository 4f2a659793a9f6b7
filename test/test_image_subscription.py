# SPDX-License-Identifier: Apache-2.0
"""One image topic as a message filter, by the interfaces that every release has."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy")

import message_filters
import rclpy
from detector_graph import isolate, wait_until
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from fusion_mamba_ros.ros.image_subscription import ImageSubscription


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
