# SPDX-License-Identifier: Apache-2.0
"""Small bags of numbered messages, to be damaged by tests."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mcap.writer import CompressionType, IndexType
from mcap.writer import Writer as McapWriter
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

STRING = "std_msgs/msg/String"
TYPESTORE = get_typestore(Stores.ROS2_JAZZY)


def text_message(number: int) -> bytes:
    message = TYPESTORE.types[STRING](f"{number} xxx {random.Random(number).randbytes(100).hex()}")
    return bytes(TYPESTORE.serialize_cdr(message, STRING))


def number_of(fields: Any) -> int:
    return int(fields.data.split()[0])


def write_mcap(
    path: Path,
    times: Sequence[int],
    *,
    compression: CompressionType = CompressionType.NONE,
    chunked: bool = True,
    indexed: bool = True,
) -> Path:
    """Write message i at times[i] to an mcap file with small chunks. Two topics take turns."""
    with path.open("wb") as file:
        writer = McapWriter(
            file,
            chunk_size=2000,
            compression=compression,
            use_chunking=chunked,
            use_statistics=indexed,
            use_summary_offsets=indexed,
            repeat_channels=indexed,
            repeat_schemas=indexed,
            index_types=IndexType.ALL if indexed else IndexType.NONE,
        )
        writer.start("ros2", "test")
        definition, _ = TYPESTORE.generate_msgdef(STRING, ros_version=2)
        schema = writer.register_schema(STRING, "ros2msg", definition.encode())
        channels = [writer.register_channel(topic, "cdr", schema) for topic in ("/even", "/odd")]
        for number, time in enumerate(times):
            writer.add_message(channels[number % 2], log_time=time, publish_time=time, data=text_message(number))
        writer.finish()
    return path


def write_bag(
    path: Path,
    times: Sequence[int],
    plugin: StoragePlugin = StoragePlugin.MCAP,
    compression: CompressionMode = CompressionMode.NONE,
) -> Path:
    """Write message i at times[i] to a bag folder. Two topics take turns. Return the file in it."""
    writer = Writer(path, version=8, storage_plugin=plugin)
    if compression is not CompressionMode.NONE:
        writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        connections = [writer.add_connection(topic, STRING, typestore=TYPESTORE) for topic in ("/even", "/odd")]
        for number, time in enumerate(times):
            writer.write(connections[number % 2], time, text_message(number))
    return next(file for file in path.iterdir() if file.suffix != ".yaml")


def cut(file: Path, share: float) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])


def forget_definitions(database: Path, message_type: str) -> None:
    """Rename the type of all topics of a sqlite3 bag, and remove the definitions, as in bags of older versions."""
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE topics SET type = ?", (message_type,))
        connection.execute("DELETE FROM message_definitions")
