# SPDX-License-Identifier: Apache-2.0
"""Read an undamaged bag by its index."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from rosbags.interfaces import ConnectionExtRosbag2
from rosbags.rosbag2 import Reader

from fusion_mamba_ros.bags.bag_contents import BagError, BagMessage, BagTopic, decompressed, first_line


class IndexedBag:
    """A bag folder with metadata.yaml, or a single mcap or sqlite3 file. See ``BagSource``.

    Raises `BagError` if the metadata has a figure that is not a valid number. If the files are damaged, the library can
    raise any exception.
    """

    def __init__(self, path: Path) -> None:
        self._reader = Reader(path)
        self._reader.open()
        self._check_figures(path)
        self.start_ns = self._reader.start_time
        self.end_ns = self.start_ns + max(self._reader.duration - 1, 0)
        self.topics: dict[str, BagTopic] = {}
        self.definitions = {connection.topic: connection.msgdef for connection in self._reader.connections}
        for connection in self._reader.connections:
            if not connection.msgcount:
                continue
            before = self.topics.get(connection.topic)
            extension = connection.ext
            qos = tuple(extension.offered_qos_profiles) if isinstance(extension, ConnectionExtRosbag2) else ()
            count = connection.msgcount + (before.count if before else 0)
            self.topics[connection.topic] = BagTopic(connection.topic, connection.msgtype, count, qos)

    def messages(self, names: Collection[str]) -> Iterator[BagMessage]:
        """Yield the messages of the topics ``names`` in recording order."""
        wanted = [c for c in self._reader.connections if c.msgcount and c.topic in names]
        for connection, recorded_ns, data in self._reader.messages(wanted):
            yield BagMessage(connection.topic, connection.msgtype, recorded_ns, decompressed(bytes(data)))

    def close(self) -> None:
        """Close the files."""
        self._reader.close()

    def _check_figures(self, path: Path) -> None:
        try:
            # The library stores the values of the file unchecked and uses them only in these properties.
            times = (self._reader.start_time, self._reader.duration)
            counts = [connection.msgcount for connection in self._reader.connections]
            figures: list[Any] = [self._reader.message_count, *times, *counts]
        except Exception as error:
            figures = [first_line(error)]
        wrong = [figure for figure in figures if type(figure) is not int or not 0 <= figure < 2**63]
        if wrong:
            self._reader.close()
            raise BagError(f"'{path}' is no bag that can be read: its metadata has the figure {wrong[0]!r}")
