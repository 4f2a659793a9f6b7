# SPDX-License-Identifier: Apache-2.0
"""A message filter for one raw or compressed image topic that adopts the QoS of its publishers."""

from __future__ import annotations

import message_filters
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSPolicyKind, ReliabilityPolicy, qos_policy_name_from_kind
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from fusion_mamba_ros.ros.detector.subscription_qos import FOLLOW, SubscriptionQoS

try:
    from rclpy.event_handler import QoSRequestedIncompatibleQoSInfo, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import QoSRequestedIncompatibleQoSInfo, SubscriptionEventCallbacks


class ImageSubscription(message_filters.SimpleFilter):
    """Subscribe to the images of ``topic`` (remappable) and pass each one to callbacks of one argument.

    The reliability follows the publishers. The subscription starts as reliable, because best effort loses most large
    images on a busy machine. It changes to best effort as soon as one publisher offers only that, and back to reliable
    when all publishers offer it. Parameters ``qos_overrides.<topic>.subscription.<policy>`` fix history, depth,
    reliability or durability. A warning names the topic and the policy if a publisher stays incompatible. The attribute
    ``topic`` is the full name after remapping, for messages and QoS overrides.
    """

    def __init__(self, node: LifecycleNode, topic: str, *, compressed: bool) -> None:
        super().__init__()
        # Keep the name before remapping: rclpy remaps every name it gets, so a remapped name would be remapped twice.
        self._name = _compressed_name(node, topic) if compressed else topic
        self.topic = node.resolve_topic_name(self._name)
        self._node = node
        self._message_type = CompressedImage if compressed else Image
        self._qos = SubscriptionQoS(node, self.topic)
        self._follows = self._qos.reliability == FOLLOW
        self._subscription: Subscription | None = None
        self._subscribe("reliable" if self._follows else self._qos.reliability)

    def close(self) -> None:
        """Unsubscribe and stop calling the callbacks."""
        self.callbacks.clear()
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def follow_publishers(self) -> None:
        """Adopt the reliability that all current publishers offer. Call this regularly."""
        if not self._follows or self._subscription is None:
            return
        offered = {info.qos_profile.reliability for info in self._node.get_publishers_info_by_topic(self._name)}
        if offered:
            self._adopt("reliable" if offered == {ReliabilityPolicy.RELIABLE} else "best_effort")

    def _subscribe(self, reliability: str) -> None:
        self._reliability = reliability
        # message_filters.Subscriber of some ROS releases takes no event callbacks.
        self._subscription = self._node.create_subscription(
            self._message_type,
            self._name,
            self.signalMessage,
            self._qos.profile(reliability),
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible_qos),
        )

    def _adopt(self, reliability: str) -> None:
        if reliability == self._reliability or self._subscription is None:
            return
        self._node.get_logger().info(f"{self.topic}: publisher offers {reliability}, subscribing with it")
        self._node.destroy_subscription(self._subscription)
        self._subscribe(reliability)

    def _on_incompatible_qos(self, event: QoSRequestedIncompatibleQoSInfo) -> None:
        if self._follows and event.last_policy_kind == QoSPolicyKind.RELIABILITY:
            self._adopt("best_effort")
            return
        policy = str(qos_policy_name_from_kind(event.last_policy_kind))
        self._node.get_logger().warning(
            f"{self.topic}: a publisher offers an incompatible {policy.lower()}, no image of it will arrive: "
            f"set qos_overrides.{self.topic}.subscription.{policy.lower()} to what it offers"
        )


def _compressed_name(node: LifecycleNode, topic: str) -> str:
    """Return the name under which to subscribe to the compressed images of ``topic``."""
    own = f"{topic}/compressed"
    if node.resolve_topic_name(own) != node.resolve_topic_name(own, only_expand=True):
        return own
    # Like image_transport: remapping the base name also remaps its compressed topic.
    return f"{node.resolve_topic_name(topic)}/compressed"
