# SPDX-License-Identifier: Apache-2.0
"""Record topics of a live ROS graph into a bag, as serialized messages."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from fusion_mamba_ros.bags.new_bag import RELIABLE, VERSION
from fusion_mamba_ros.ros.bag_tools.recorded_qos import recorded_qos, request_all

_PRIMITIVE = re.compile(r"^(bool|byte|char|u?int(8|16|32|64)|float(32|64)|w?string)(<=\d+)?$")
_DISCOVERY_PERIOD_SEC = 0.05


class BagRecorder:
    """Subscribe to topics with ``node`` and write their messages into the new bag ``path``. `close` finishes the bag.

    ``topics`` maps topic names to message classes. A relative name is in the node's namespace, and every name can be
    remapped. The recorder subscribes to a topic as soon as it has a publisher, with the reliability and durability
    that all of its publishers offer, so latched messages are recorded. The metadata of the bag stores the QoS that the
    publishers offer. ``on_message`` is called with the topic's full name and the message after it has been written.
    """

    def __init__(
        self,
        node: Node,
        path: Path,
        topics: dict[str, type],
        *,
        on_message: Callable[[str, object], None] | None = None,
    ) -> None:
        self._node, self._on_message = node, on_message
        self._typestore = get_typestore(Stores.ROS2_JAZZY)
        self._topics = {name: _RecordedTopic(node.resolve_topic_name(name), kind) for name, kind in topics.items()}
        for topic in self._topics.values():
            register_installed(self._typestore, message_type_of(topic.kind))
        self._writer = Writer(path, version=VERSION, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        self.counts = {topic.full_name: 0 for topic in self._topics.values()}
        # Use the steady clock: the recorder must find publishers before simulated time runs.
        self._timer = node.create_timer(
            _DISCOVERY_PERIOD_SEC, self._follow_publishers, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        self._follow_publishers()

    @property
    def waiting(self) -> list[str]:
        """The full names of the topics without a publisher so far."""
        return [topic.full_name for topic in self._topics.values() if topic.subscription is None]

    def close(self) -> None:
        """Unsubscribe and finish the bag."""
        self._node.destroy_timer(self._timer)
        for name, topic in self._topics.items():
            # The metadata also lists topics without messages.
            self._connection(name, topic)
            if topic.subscription is not None:
                self._node.destroy_subscription(topic.subscription)
        self._writer.close()

    def _follow_publishers(self) -> None:
        for name, topic in self._topics.items():
            offered = self._offered(name)
            if not offered:
                continue
            wanted = request_all(offered)
            if topic.requested is not None:
                # A later publisher may offer less. Never request more again: latched messages would arrive twice.
                wanted = request_all([wanted, topic.requested])
            if wanted != topic.requested:
                self._subscribe(name, topic, wanted)

    def _offered(self, name: str) -> list[QoSProfile]:
        # Pass the name as given: rclpy remaps it.
        return [info.qos_profile for info in self._node.get_publishers_info_by_topic(name)]

    def _subscribe(self, name: str, topic: _RecordedTopic, requested: QoSProfile) -> None:
        def record(data: bytes) -> None:
            self._writer.write(self._connection(name, topic), self._node.get_clock().now().nanoseconds, data)
            self.counts[topic.full_name] += 1
            if self._on_message is not None:
                self._on_message(topic.full_name, deserialize_message(data, topic.kind))

        if topic.subscription is not None:
            self._node.destroy_subscription(topic.subscription)
        topic.requested = requested
        # Pass the name as given: rclpy would remap the full name a second time.
        topic.subscription = self._node.create_subscription(topic.kind, name, record, requested, raw=True)

    def _connection(self, name: str, topic: _RecordedTopic) -> Connection:
        """Return the bag's connection of a topic. The first call fixes the topic's QoS in the metadata."""
        if topic.connection is None:
            offered = [recorded_qos(profile) for profile in self._offered(name)]
            if not offered:
                offered = [RELIABLE if topic.requested is None else recorded_qos(topic.requested)]
            topic.connection = self._writer.add_connection(
                topic.full_name,
                message_type_of(topic.kind),
                typestore=self._typestore,
                offered_qos_profiles=offered,
            )
        return topic.connection


class _RecordedTopic:
    """The state of one topic of a recording."""

    def __init__(self, full_name: str, kind: type) -> None:
        self.full_name, self.kind = full_name, kind
        self.requested: QoSProfile | None = None
        self.subscription: Subscription | None = None
        self.connection: Connection | None = None


def message_type_of(kind: type) -> str:
    """Return the name of a message class, for example `std_msgs/msg/Header`."""
    return f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"


def register_installed(typestore: Typestore, message_type: str) -> None:
    """Add a message type and the types of its fields to ``typestore``, from installed `.msg` files."""
    if message_type in typestore.types:
        return
    package, _, name = message_type.split("/")
    definition = (Path(get_package_share_directory(package)) / "msg" / f"{name}.msg").read_text()
    for line in definition.splitlines():
        words = line.split("#")[0].split()
        if len(words) < 2:
            continue
        field = re.sub(r"\[.*\]$", "", words[0])
        if _PRIMITIVE.match(field):
            continue
        parts = field.split("/")
        register_installed(typestore, f"{parts[0] if len(parts) > 1 else package}/msg/{parts[-1]}")
    typestore.register(get_types_from_msg(definition, message_type))
