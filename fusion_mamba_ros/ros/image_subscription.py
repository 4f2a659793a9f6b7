# SPDX-License-Identifier: Apache-2.0
"""One image topic as a message filter: raw or compressed, with the QoS that its publisher offers."""

from __future__ import annotations

from typing import Any

import message_filters
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
    qos_policy_name_from_kind,
)
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

try:
    from rclpy.event_handler import QoSRequestedIncompatibleQoSInfo, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import QoSRequestedIncompatibleQoSInfo, SubscriptionEventCallbacks

FOLLOW = "best_available"

_OVERRIDES: dict[str, tuple[str | int, str]] = {
    "history": ("keep_last", "keep_last or keep_all"),
    "depth": (5, "messages kept for a callback that is late"),
    "reliability": (FOLLOW, f"reliable, best_effort or {FOLLOW}: what the publisher offers"),
    "durability": ("volatile", "volatile or transient_local"),
}


class ImageSubscription(message_filters.SimpleFilter):
    """The images of ``topic`` (remappable), passed on to callbacks of one argument as they arrive.

    Reliability follows the publisher: reliable first, since best effort loses most large images on a busy machine; best
    effort as soon as a publisher offers no more; reliable again when all publishers offer it. History, depth,
    reliability and durability can be fixed by parameters ``qos_overrides.<topic>.subscription.<policy>``. A publisher
    that stays incompatible is named in a warning together with the policy.
    """

    def __init__(self, node: LifecycleNode, topic: str, *, compressed: bool) -> None:
        super().__init__()
        base = node.resolve_topic_name(topic)
        # As image_transport does: whoever remaps the base name has remapped its compressed form too.
        self.topic = f"{base}/compressed" if compressed else base
        self._node = node
        self._message_type = CompressedImage if compressed else Image
        self._overrides = {policy: self._declare_override(policy) for policy in _OVERRIDES}
        self._follows = self._overrides["reliability"] == FOLLOW
        self._subscription: Subscription | None = None
        self._subscribe("reliable" if self._follows else str(self._overrides["reliability"]))

    def close(self) -> None:
        """Unsubscribe; nothing is passed on any more."""
        self.callbacks.clear()
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def follow_publishers(self) -> None:
        """Adopt the reliability that all publishers offer by now; to be called now and then."""
        if not self._follows or self._subscription is None:
            return
        offered = {info.qos_profile.reliability for info in self._node.get_publishers_info_by_topic(self.topic)}
        if offered:
            self._adopt("reliable" if offered == {ReliabilityPolicy.RELIABLE} else "best_effort")

    def _declare_override(self, policy: str) -> str | int:
        name = f"qos_overrides.{self.topic}.subscription.{policy}"
        default, meaning = _OVERRIDES[policy]
        if not self._node.has_parameter(name):
            descriptor = ParameterDescriptor(description=f"QoS {policy} of {self.topic}: {meaning}", read_only=True)
            self._node.declare_parameter(name, default, descriptor)
        value: str | int = self._node.get_parameter(name).value
        return value

    def _subscribe(self, reliability: str) -> None:
        self._reliability = reliability
        profile = QoSProfile(
            history=_policy(HistoryPolicy, "history", self._overrides["history"]),
            depth=int(self._overrides["depth"]),
            reliability=_policy(ReliabilityPolicy, "reliability", reliability),
            durability=_policy(DurabilityPolicy, "durability", self._overrides["durability"]),
        )
        # Not through message_filters.Subscriber: that of some releases takes no event callbacks.
        self._subscription = self._node.create_subscription(
            self._message_type,
            self.topic,
            self.signalMessage,
            profile,
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible_qos),
        )

    def _adopt(self, reliability: str) -> None:
        if reliability == self._reliability or self._subscription is None:
            return
        self._node.get_logger().info(f"{self.topic}: publisher offers {reliability}, subscribing so")
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


def _policy(kind: Any, name: str, value: str | int) -> Any:
    try:
        return kind[str(value).upper()]
    except KeyError as error:
        raise ValueError(
            f"QoS override {name} is '{value}': expected one of "
            f"{', '.join(member.lower() for member in kind.__members__ if member not in ('UNKNOWN', 'SYSTEM_DEFAULT'))}"
        ) from error
