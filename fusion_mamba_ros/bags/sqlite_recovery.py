# SPDX-License-Identifier: Apache-2.0
"""Read the messages of a sqlite3 bag file that is cut short or damaged."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat
from rosbags.rosbag2.metadata import parse_qos

from fusion_mamba_ros.bags.bag_contents import BagError, BagMessage, BagTopic, BagWarning, first_line

_NO_DEFINITION = MessageDefinition(MessageDefinitionFormat.NONE, "")
_FORMATS = {"ros2msg": MessageDefinitionFormat.MSG, "ros2idl": MessageDefinitionFormat.IDL}

_MOST_LOST_IN_A_ROW = 1000


class RecoveredSqlite:
    """The messages of one sqlite3 file that can still be read, row by row. See ``BagSource``.

    ``warnings`` say what is lost. Raises `BagError` if the file is no database or its table of topics is lost.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False
        )
        self.warnings: list[BagWarning] = []
        try:
            # Without this, SQLite refuses a file that is shorter than its header says.
            self._database.execute("PRAGMA writable_schema=ON")
            rows = self._database.execute("SELECT id, name, type FROM topics").fetchall()
        except sqlite3.Error as error:
            self._database.close()
            raise BagError(f"'{path}' is no bag that can be read: {first_line(error)}") from error
        self._topics: dict[int, tuple[str, str]] = {key: (str(name), str(kind)) for key, name, kind in rows}
        # (recording time, row, topic) of each message whose row can be read.
        self._index = sorted(row for row in self._scan() if row[2] in self._topics)
        counts = Counter(topic for _, _, topic in self._index)
        qos, definitions = self._profiles(), self._definitions()
        self.topics = {
            name: BagTopic(name, kind, counts[key], qos.get(name, ()))
            for key, (name, kind) in self._topics.items()
            if counts[key]
        }
        self.definitions = {
            name: definitions.get(topic.message_type, _NO_DEFINITION) for name, topic in self.topics.items()
        }
        self.start_ns, self.end_ns = (self._index[0][0], self._index[-1][0]) if self._index else (0, 0)

    def messages(self, names: Collection[str]) -> Iterator[BagMessage]:
        """Yield the messages of the topics ``names`` in recording order."""
        wanted = {key for key, (name, _) in self._topics.items() if name in names}
        lost = 0
        for recorded_ns, row, topic in self._index:
            if topic not in wanted:
                continue
            try:
                (data,) = self._database.execute("SELECT data FROM messages WHERE id = ?", (row,)).fetchone() or (None,)
            except sqlite3.Error:
                data = None
            if not isinstance(data, bytes):
                lost += 1
                continue
            name, kind = self._topics[topic]
            yield BagMessage(name, kind, recorded_ns, data)
        if lost:
            warning = BagWarning(f"file '{self._path.name}' is damaged: the data of {lost} messages is lost", lost)
            if warning not in self.warnings:
                self.warnings.append(warning)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _scan(self) -> set[tuple[int, int, int]]:
        """Return (recording time, row, topic) of the rows that can be read. Step over rows on lost pages."""
        found: set[tuple[int, int, int]] = set()
        last, failures, fault = -1, 0, ""
        while failures < _MOST_LOST_IN_A_ROW:
            try:
                for row, topic, recorded_ns in self._database.execute(
                    "SELECT id, topic_id, timestamp FROM messages WHERE id > ? ORDER BY id", (last,)
                ):
                    if type(row) is not int or row <= last:
                        raise sqlite3.DatabaseError("rows out of order")
                    # SQLite stores any type in any column, and damage may change it.
                    if type(topic) is int and type(recorded_ns) is int and recorded_ns >= 0:
                        found.add((recorded_ns, row, topic))
                    last, failures = row, 0
            except sqlite3.Error as error:
                fault = first_line(error)
                last, failures = last + 1, failures + 1
            else:
                break
        if fault:
            self.warnings.append(BagWarning(f"file '{self._path.name}' is damaged or cut short ({fault})"))
        return found

    def _profiles(self) -> dict[str, tuple[Any, ...]]:
        try:
            rows = self._database.execute("SELECT name, offered_qos_profiles FROM topics").fetchall()
            return {str(name): tuple(parse_qos(text)) for name, text in rows}
        except Exception:  # older bags have no such column; a damaged profile does not make the messages unreadable
            return {}

    def _definitions(self) -> dict[str, MessageDefinition]:
        try:
            rows = self._database.execute(
                "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
            ).fetchall()
        except sqlite3.Error:  # older bags have no such table
            return {}
        return {
            str(kind): MessageDefinition(_FORMATS.get(form, MessageDefinitionFormat.NONE), str(text))
            for kind, form, text in rows
        }
