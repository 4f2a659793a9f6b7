# SPDX-License-Identifier: Apache-2.0
"""Read rosbag2 bags (mcap or sqlite3) without ROS, damaged ones as far as possible.

If nothing can be read from a path, `BagError` is raised with a one-sentence message.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from fusion_mamba_ros.bags.bag_contents import BagError, BagMessage, BagSource, BagTopic, BagWarning, first_line
from fusion_mamba_ros.bags.bag_recovery import RecoveredBag, bag_files
from fusion_mamba_ros.bags.indexed_bag import IndexedBag
from fusion_mamba_ros.bags.mcap_recovery import has_index
from fusion_mamba_ros.bags.vision_messages import register_vision_messages

__all__ = ["IMAGE_TYPES", "Bag", "BagError", "BagMessage", "BagTopic", "BagWarning"]

log = logging.getLogger(__name__)

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")


class Bag:
    """An open bag, usable as a context manager.

    All readable messages of a damaged bag are delivered. ``warnings`` say what is lost; each is also logged. Reading
    messages may add warnings. Raises `BagError` if the path does not exist, is not a bag or holds no message
    that can be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.warnings: list[BagWarning] = []
        if not path.exists():
            raise BagError(f"bag '{path}' does not exist")
        if path.is_file() and not path.stat().st_size:
            raise BagError(f"bag '{path}' is empty: it holds 0 bytes")
        self._source = self._open()
        self._typestore: Typestore | None = None
        self._type_faults: dict[str, str] = {}

    def _open(self) -> BagSource:
        try:
            source: BagSource = IndexedBag(self.path)
        except BagError:
            raise
        except FileNotFoundError:
            return self._open_without_metadata()
        except Exception as error:  # damaged bytes can make the library raise any exception
            return self._recover(first_line(error))
        if not source.topics:
            source.close()
            raise BagError(f"bag '{self.path}' is empty: it holds no message")
        if not self._is_indexed():
            # The library raises an error in the middle of such a file if its messages are not in time order.
            source.close()
            source = RecoveredBag(self.path)
            self._warn(BagWarning(f"bag '{self.path}' has no index: reading its files whole", 0))
            self._warn_of(source)
        return source

    def _is_indexed(self) -> bool:
        files = [self.path] if self.path.is_file() else sorted(self.path.glob("*.mcap"))
        return all(file.suffix != ".mcap" or has_index(file) for file in files)

    def _open_without_metadata(self) -> BagSource:
        files = bag_files(self.path)
        if len(files) == 1:
            try:
                source = IndexedBag(files[0])
            except Exception:  # any exception, as in _open
                return self._recover("it has no metadata.yaml")
            if source.topics and self._is_indexed():
                self._warn(BagWarning(f"bag '{self.path}' has no metadata.yaml: reading '{files[0].name}'", 0))
                return source
            source.close()
        return self._recover("it has no metadata.yaml")

    def _recover(self, reason: str) -> BagSource:
        """Open the bag without its index. Raises `BagError` if nothing can be read."""
        source = RecoveredBag(self.path)
        self._warn(BagWarning(f"bag '{self.path}' is damaged ({reason}): reading what can be read"))
        self._warn_of(source)
        return source

    def _warn(self, warning: BagWarning) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)
            log.warning("%s", warning.sentence)

    def _warn_of(self, source: BagSource) -> None:
        for warning in getattr(source, "warnings", ()):
            self._warn(warning)

    @property
    def topics(self) -> dict[str, BagTopic]:
        """Topics that hold at least one message, by name."""
        return dict(self._source.topics)

    @property
    def start_ns(self) -> int:
        """Recording time of the first message, in nanoseconds."""
        return self._source.start_ns

    @property
    def duration_ns(self) -> int:
        """Time from the first message to the last, in nanoseconds."""
        return self._source.end_ns - self._source.start_ns

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

        Where the file is damaged, messages are missing, and ``warnings`` say so. Raises `BagError` if nothing can be
        read.
        """
        self.require(names)
        wanted = set(names or self.topics)
        expected = sum(self.topics[name].count for name in wanted)
        delivered = 0
        last_ns, at_last = -1, Counter[str]()
        try:
            for message in self._source.messages(wanted):
                if message.recorded_ns != last_ns:
                    last_ns, at_last = message.recorded_ns, Counter()
                at_last[message.topic] += 1
                delivered += 1
                yield message
        except BagError:
            raise
        except Exception as error:  # any exception, as in _open
            if isinstance(self._source, RecoveredBag):
                raise BagError(f"bag '{self.path}' is damaged: {first_line(error)}") from error
            recovered = self._recover(first_line(error))
            self._source.close()
            self._source = recovered
            for message in self._source.messages(wanted):
                if message.recorded_ns < last_ns or (message.recorded_ns == last_ns and at_last[message.topic] > 0):
                    at_last[message.topic] -= message.recorded_ns == last_ns
                    continue
                delivered += 1
                yield message
        self._warn_of(self._source)
        if delivered < expected and not isinstance(self._source, RecoveredBag):
            lost = expected - delivered
            self._warn(
                BagWarning(
                    f"{lost} of {expected} messages on {', '.join(sorted(wanted))} of bag '{self.path}' are lost: "
                    "its files hold fewer than its metadata says",
                    lost,
                )
            )

    def fields_of(self, message: BagMessage) -> Any:
        """Return the deserialized fields of ``message``. The message type comes from the definitions in the bag.

        Raises `BagError` if the message or its definition is damaged, or the type is unknown.
        """
        typestore = self._types()
        fault = self._type_faults.get(message.topic)
        if fault is not None:
            raise BagError(fault)
        try:
            return typestore.deserialize_cdr(message.data, message.message_type)
        except Exception as error:  # any exception, as in _open
            raise BagError(
                f"bag '{self.path}': the message on '{message.topic}' recorded at "
                f"{message.recorded_ns / 1e9:.3f} s is damaged: {first_line(error)}"
            ) from error

    def read(self, names: Collection[str] = ()) -> Iterator[tuple[BagMessage, Any]]:
        """Yield each message with its deserialized fields. Empty ``names``: all topics whose types are known.

        Topics of unknown types are left out with a warning, unless they are in ``names``. Damaged messages are left
        out; ``warnings`` count them at the end. Raises `BagError` like ``messages``, and if no message is intact.
        """
        self._types()
        if not names:
            names = [name for name in self.topics if name not in self._type_faults]
            for fault in self._type_faults.values():
                self._warn(BagWarning(fault))
            if not names:
                raise BagError(next(iter(self._type_faults.values())))
        damaged: dict[str, list[BagError]] = {}
        intact = 0
        for message in self.messages(names):
            try:
                fields = self.fields_of(message)
            except BagError as error:
                if message.topic in self._type_faults:
                    raise
                damaged.setdefault(message.topic, []).append(error)
                continue
            intact += 1
            yield message, fields
        for topic, errors in damaged.items():
            if not intact:
                raise errors[0]
            more = f" ({len(errors)} messages on '{topic}' are damaged)" if len(errors) > 1 else ""
            self._warn(BagWarning(f"{errors[0]}{more}", len(errors)))

    def close(self) -> None:
        """Close the files."""
        self._source.close()

    def __enter__(self) -> Bag:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _types(self) -> Typestore:
        """Return the message types. Note in ``_type_faults`` why the messages of a topic cannot be read."""
        if self._typestore is None:
            typestore = get_typestore(Stores.ROS2_JAZZY)
            for name, topic in self.topics.items():
                try:
                    _register(typestore, topic.message_type, self._source.definitions[name])
                except Exception as error:  # any exception, as in _open
                    self._type_faults[name] = (
                        f"bag '{self.path}': the definition of {topic.message_type} on '{name}' is damaged: "
                        f"{first_line(error)}"
                    )
            register_vision_messages(typestore)
            for name, topic in self.topics.items():
                if topic.message_type not in typestore.types and name not in self._type_faults:
                    self._type_faults[name] = (
                        f"bag '{self.path}': topic '{name}' holds {topic.message_type}, of which the bag has no "
                        "definition: its messages cannot be read"
                    )
            self._typestore = typestore
        return self._typestore


def _register(typestore: Typestore, message_type: str, definition: MessageDefinition) -> None:
    if definition.format is MessageDefinitionFormat.MSG:
        types = get_types_from_msg(definition.data, message_type)
    elif definition.format is MessageDefinitionFormat.IDL:
        types = get_types_from_idl(definition.data)
    else:
        return
    typestore.register({name: fields for name, fields in types.items() if name not in typestore.types})
