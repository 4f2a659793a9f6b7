# SPDX-License-Identifier: Apache-2.0
"""Create a rosbag2 (mcap) that any ROS 2 tool can read. Needs no ROS."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer, WriterError
from rosbags.typesys.store import Typestore

from fusion_mamba_ros.bags.bag_contents import BagError

# Version 8 differs from version 9 only in the spelling of the QoS settings. Humble can read it too.
VERSION: Literal[8, 9] = 8
_FOREVER = QosTime(9223372036, 854775807)

RELIABLE = Qos(
    QosHistory.KEEP_LAST,
    10,
    QosReliability.RELIABLE,
    QosDurability.VOLATILE,
    _FOREVER,
    _FOREVER,
    QosLiveliness.AUTOMATIC,
    _FOREVER,
    False,
)


class NewBag:
    """A bag that is being written. `close` finishes it, `abort` removes it.

    Raises `BagError` if ``path`` exists or cannot be written. If the bag cannot be created, no files remain at
    ``path``.
    """

    def __init__(self, path: Path, typestore: Typestore) -> None:
        if path.exists():
            raise BagError(f"'{path}' exists already: remove it or choose another name")
        self._path, self._typestore = path, typestore
        self._writer = Writer(path, version=VERSION, storage_plugin=StoragePlugin.MCAP)
        try:
            self._writer.open()
        except WriterError as error:  # another process has just created the path, so do not remove it
            raise BagError(f"'{path}' exists already: remove it or choose another name") from error
        except OSError as error:
            self.abort()
            raise self._unwritable(error) from error

    def connect(self, topic: str, message_type: str) -> Connection:
        """Add a topic."""
        name = topic if topic.startswith("/") else f"/{topic}"
        with self._disk():
            return self._writer.add_connection(
                name, message_type, typestore=self._typestore, offered_qos_profiles=[RELIABLE]
            )

    def write(self, connection: Connection, recorded_ns: int, message: Any) -> None:
        """Serialize and write one message."""
        data = self._typestore.serialize_cdr(message, connection.msgtype)
        with self._disk():
            self._writer.write(connection, recorded_ns, data)

    def close(self) -> None:
        """Finish the bag. Raises `BagError` if it cannot be written."""
        with self._disk():
            self._writer.close()

    def abort(self) -> None:
        """Remove the unfinished bag."""
        # On a full disk, closing fails when it flushes the buffer. The error does not matter: the file is removed.
        with suppress(OSError):
            self._writer.abort()
        shutil.rmtree(self._path, ignore_errors=True)

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> BagError:
        return BagError(f"bag '{self._path}' cannot be written: {error.strerror or error}")
