# SPDX-License-Identifier: Apache-2.0
"""Read all readable messages of a damaged bag from its files, without the index and without metadata.yaml."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rosbags.interfaces import MessageDefinition

from fusion_mamba_ros.bags.bag_contents import BagError, BagMessage, BagTopic, BagWarning, decompressed, first_line
from fusion_mamba_ros.bags.mcap_recovery import RecoveredMcap
from fusion_mamba_ros.bags.sqlite_recovery import RecoveredSqlite
from fusion_mamba_ros.datasets.image_sequence import natural_key
from fusion_mamba_ros.perception.documents import parse_yaml

_READERS: dict[str, type[RecoveredMcap] | type[RecoveredSqlite]] = {".mcap": RecoveredMcap, ".db3": RecoveredSqlite}
_MOST_METADATA_BYTES = 10_000_000


class RecoveredBag:
    """The messages of all files of a bag that can still be read. See ``BagSource``.

    ``path`` is a bag folder, or one of its mcap or sqlite3 files. ``warnings`` say what is lost: for each damaged file,
    and for the bag the number of messages, if metadata.yaml has it. Raises `BagError` if no message can be read.
    """

    def __init__(self, path: Path) -> None:
        announced = _announced_counts(path)
        self.warnings: list[BagWarning] = []
        self._files: list[RecoveredMcap | RecoveredSqlite] = []
        for file in bag_files(path):
            if not file.stat().st_size:
                self.warnings.append(BagWarning(f"file '{file.name}' is empty: it holds 0 bytes"))
                continue
            try:
                self._files.append(_READERS[file.suffix](file))
            except BagError as error:
                self.warnings.append(BagWarning(str(error)))
            except Exception as error:  # damaged bytes can make a library raise any exception
                self.warnings.append(BagWarning(f"file '{file.name}' cannot be read: {first_line(error)}"))
        # The warnings so far give the reasons of the files of which nothing can be read.
        reasons = [warning.sentence for warning in self.warnings]
        for opened in self._files:
            self.warnings += opened.warnings
        self.topics: dict[str, BagTopic] = {}
        self.definitions: dict[str, MessageDefinition] = {}
        for opened in self._files:
            for name, topic in opened.topics.items():
                before = self.topics.get(name)
                count = topic.count + (before.count if before else 0)
                self.topics[name] = BagTopic(name, topic.message_type, count, topic.offered_qos)
                self.definitions.setdefault(name, opened.definitions[name])
        found = sum(topic.count for topic in self.topics.values())
        if not found:
            self.close()
            reasons = reasons or [warning.sentence for warning in self.warnings] or ["it holds no message"]
            raise BagError(f"'{path}' is no bag that can be read: {reasons[0]}")
        if announced is not None and announced > found:
            lost = announced - found
            self.warnings.append(BagWarning(f"{lost} of {announced} messages of bag '{path}' are lost", lost))
        filled = [opened for opened in self._files if opened.topics]
        self.start_ns = min(opened.start_ns for opened in filled)
        self.end_ns = max(opened.end_ns for opened in filled)

    def messages(self, names: Collection[str]) -> Iterator[BagMessage]:
        """Yield the messages of the topics ``names`` in recording order."""
        streams = [opened.messages(names) for opened in self._files]
        for message in heapq.merge(*streams, key=lambda message: message.recorded_ns):
            yield replace(message, data=decompressed(message.data))
        for opened in self._files:
            self.warnings += [warning for warning in opened.warnings if warning not in self.warnings]

    def close(self) -> None:
        """Close the files."""
        for opened in self._files:
            opened.close()


def bag_files(path: Path) -> list[Path]:
    """Return the files of a bag in natural order. Raises `BagError` if there are none."""
    if path.is_file():
        if path.suffix not in _READERS:
            raise BagError(f"'{path}' is no bag that can be read: expected a folder, or a file .mcap or .db3")
        return [path]
    names = sorted(path.iterdir(), key=lambda file: natural_key(file.name))
    files = [file for file in names if file.suffix in _READERS and file.is_file()]
    if not files:
        packed = [file.name for file in names if file.suffix == ".zstd"]
        if packed:
            raise BagError(f"'{path}' is no bag that can be read: decompress '{packed[0]}' first (zstd -d)")
        raise BagError(f"'{path}' is no bag: it has no metadata.yaml and no file .mcap or .db3")
    return files


def _announced_counts(path: Path) -> int | None:
    """Return the number of messages in metadata.yaml, None if it cannot be read."""
    file = path / "metadata.yaml"
    try:
        if file.stat().st_size > _MOST_METADATA_BYTES:
            return None
        content: Any = parse_yaml(file.read_text(encoding="utf-8"))
        count = content["rosbag2_bagfile_information"]["message_count"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return count if type(count) is int and count >= 0 else None
