# SPDX-License-Identifier: Apache-2.0
"""Record topics of a live graph into a bag, serialized as they come."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from fusion_mamba_ros.evaluation.bag_writing import RELIABLE, VERSION

_PRIMITIVE = re.compile(r"^(bool|byte|char|u?int(8|16|32|64)|float(32|64)|w?string)(<=\d+)?$")


class BagRecorder:
    """Subscribes reliably to topics of ``node`` and writes what comes into the new bag ``path``; `close` finishes it.

    ``topics`` maps names (relative ones in the node's namespace) to message classes; ``latched`` names those that are
    transient local. ``on_message`` is called with the topic's full name and the message, after it has been written.
    """

    def __init__(
        self,
        node: Node,
        path: Path,
        topics: dict[str, type],
        *,
        latched: tuple[str, ...] = (),
        on_message: Callable[[str, object], None] | None = None,
    ) -> None:
        self._node, self._on_message = node, on_message
        self._typestore = get_typestore(Stores.ROS2_JAZZY)
        self._writer = Writer(path, version=VERSION, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        self.counts: dict[str, int] = {}
        self._subscriptions = [self._subscribe(name, kind, name in latched) for name, kind in topics.items()]

    def close(self) -> None:
        """Unsubscribe and finish the bag."""
        while self._subscriptions:
            self._node.destroy_subscription(self._subscriptions.pop())
        self._writer.close()

    def _subscribe(self, name: str, kind: type, latched: bool):  # type: ignore[no-untyped-def]
        topic = self._node.resolve_topic_name(name)
        message_type = message_type_of(kind)
        register_installed(self._typestore, message_type)
        connection = self._writer.add_connection(
            topic, message_type, typestore=self._typestore, offered_qos_profiles=[RELIABLE]
        )
        self.counts[topic] = 0

        def record(data: bytes) -> None:
            self._writer.write(connection, self._node.get_clock().now().nanoseconds, data)
            self.counts[topic] += 1
            if self._on_message is not None:
                self._on_message(topic, deserialize_message(data, kind))

        durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
        profile = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE, durability=durability)
        return self._node.create_subscription(kind, topic, record, profile, raw=True)


def message_type_of(kind: type) -> str:
    """Return the name of a message class, for example `std_msgs/msg/Header`."""
    return f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"


def register_installed(typestore: Typestore, message_type: str) -> None:
    """Add a type and all it consists of to ``typestore``, from the `.msg` files of the installed packages."""
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
