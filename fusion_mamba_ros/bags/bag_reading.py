# SPDX-License-Identifier: Apache-2.0
"""Read rosbag2 bags (mcap or sqlite3) without ROS.

A path that is not a readable bag raises `BagError` with a one-sentence message.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinitionFormat, Qos
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")


class BagError(ValueError):
    """Error for a bag that cannot be used. The message is one sentence."""


@dataclass(frozen=True)
class BagTopic:
    """One topic of a bag."""

    name: str
    message_type: str
    count: int
    offered_qos: tuple[Qos, ...]


@dataclass(frozen=True)
class BagMessage:
    """One recorded message: its recording time and its serialized bytes (CDR)."""

    topic: str
    message_type: str
    recorded_ns: int
    data: bytes


class Bag:
    """An open bag, usable as a context manager.

    Raises `BagError` if the path does not exist, is not a bag, is damaged or holds no message.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            raise BagError(f"bag '{path}' does not exist")
        try:
            self._reader = Reader(path)
            self._reader.open()
        except FileNotFoundError as error:
            raise BagError(f"'{path}' is no bag: it has no metadata.yaml") from error
        except Exception as error:  # damaged bytes can make the library raise any exception
            raise BagError(f"'{path}' is no bag that can be read: {_first_line(error)}") from error
        count = self._checked_count()
        if not count:
            self._reader.close()
            raise BagError(f"bag '{path}' is empty: it holds no message")
        self._typestore: Typestore | None = None

    def _checked_count(self) -> int:
        """Return the message count of metadata.yaml. Raises `BagError` if a figure in it is not a valid number."""
        try:
            # The library stores the values of the file unchecked and uses them only in these properties.
            times = (self._reader.start_time, self._reader.duration)
            count: int = self._reader.message_count
            figures: list[Any] = [count, *times, *(connection.msgcount for connection in self._reader.connections)]
        except Exception as error:  # any exception, as in __init__
            figures = [_first_line(error)]
        wrong = [figure for figure in figures if type(figure) is not int or not 0 <= figure < 2**63]
        if wrong:
            self._reader.close()
            raise BagError(f"'{self.path}' is no bag that can be read: its metadata has the figure {wrong[0]!r}")
        return count

    @property
    def topics(self) -> dict[str, BagTopic]:
        """Topics that hold at least one message, by name."""
        topics: dict[str, BagTopic] = {}
        for connection in self._reader.connections:
            if not connection.msgcount:
                continue
            before = topics.get(connection.topic)
            extension = connection.ext
            qos = tuple(extension.offered_qos_profiles) if isinstance(extension, ConnectionExtRosbag2) else ()
            count = connection.msgcount + (before.count if before else 0)
            topics[connection.topic] = BagTopic(connection.topic, connection.msgtype, count, qos)
        return topics

    @property
    def start_ns(self) -> int:
        """Recording time of the first message, in nanoseconds."""
        return self._reader.start_time

    @property
    def duration_ns(self) -> int:
        """Time from the first message to the last, in nanoseconds."""
        return max(self._reader.duration - 1, 0)

    def require(self, names: Collection[str], kinds: Sequence[str] = ()) -> None:
        """Raise `BagError` if a topic is missing or its message type is not in ``kinds``. Empty ``kinds``: any type."""
        topics = self.topics
        for name in names:
            if name not in topics:
                listed = ", ".join(sorted(topics))
                raise BagError(f"bag '{self.path}' has no messages on topic '{name}': it has {listed}")
            if kinds and topics[name].message_type not in kinds:
                found = topics[name].message_type
                raise BagError(f"topic '{name}' of bag '{self.path}' holds {found}: expected {' or '.join(kinds)}")

    def messages(self, names: Collection[str] = ()) -> Iterator[BagMessage]:
        """Yield the serialized messages of the topics ``names`` in recording order. Empty ``names``: all topics.

        Raises `BagError` if the file is damaged.
        """
        self.require(names)
        wanted = [c for c in self._reader.connections if c.msgcount and (not names or c.topic in names)]
        try:
            for connection, recorded_ns, data in self._reader.messages(wanted):
                yield BagMessage(connection.topic, connection.msgtype, recorded_ns, bytes(data))
        except BagError:
            raise
        except Exception as error:  # any exception, as in __init__
            raise BagError(f"bag '{self.path}' is damaged: {_first_line(error)}") from error

    def read(self, names: Collection[str] = ()) -> Iterator[tuple[BagMessage, Any]]:
        """Yield each message with its deserialized fields. The message types come from the definitions in the bag.

        Raises `BagError` if the file, a message or a definition is damaged.
        """
        for message in self.messages(names):
            yield message, self.deserialize(message)

    def deserialize(self, message: BagMessage) -> Any:
        """Return the fields of a message of this bag. Raises `BagError` if the message or a definition is damaged."""
        typestore = self._types()
        try:
            return typestore.deserialize_cdr(message.data, message.message_type)
        except Exception as error:  # any exception, as in __init__
            raise BagError(
                f"bag '{self.path}': the message on '{message.topic}' recorded at "
                f"{message.recorded_ns / 1e9:.3f} s is damaged: {_first_line(error)}"
            ) from error

    def close(self) -> None:
        """Close the files."""
        self._reader.close()

    def __enter__(self) -> Bag:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _types(self) -> Typestore:
        if self._typestore is None:
            typestore = get_typestore(Stores.ROS2_JAZZY)
            for connection in self._reader.connections:
                try:
                    _register(typestore, connection)
                except Exception as error:  # any exception, as in __init__
                    raise BagError(
                        f"bag '{self.path}': the definition of {connection.msgtype} on '{connection.topic}' is "
                        f"damaged: {_first_line(error)}"
                    ) from error
            self._typestore = typestore
        return self._typestore


def _register(typestore: Typestore, connection: Connection) -> None:
    definition = connection.msgdef
    if definition.format is MessageDefinitionFormat.MSG:
        types = get_types_from_msg(definition.data, connection.msgtype)
    elif definition.format is MessageDefinitionFormat.IDL:
        types = get_types_from_idl(definition.data)
    else:
        return
    typestore.register({name: fields for name, fields in types.items() if name not in typestore.types})


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
