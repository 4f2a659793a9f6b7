# SPDX-License-Identifier: Apache-2.0
"""Define the contents of a bag (topics and messages), and the warnings and errors about lost parts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import zstandard
from rosbags.interfaces import MessageDefinition, Qos

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class BagError(ValueError):
    """Error for a bag that cannot be used. The message is one sentence."""


@dataclass(frozen=True)
class BagWarning:
    """A part of a bag that could not be read.

    ``sentence`` says what is lost. ``lost_messages`` is the number of lost messages, None if it is unknown.
    """

    sentence: str
    lost_messages: int | None = None


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


class BagSource(Protocol):
    """The files of one bag."""

    start_ns: int
    end_ns: int

    @property
    def topics(self) -> Mapping[str, BagTopic]:
        """Topics that hold at least one message, by name."""

    @property
    def definitions(self) -> Mapping[str, MessageDefinition]:
        """Definition of the message type of each topic, by the name of the topic."""

    def messages(self, names: Collection[str]) -> Iterator[BagMessage]:
        """Yield the messages of the topics ``names`` in recording order."""

    def close(self) -> None:
        """Close the files."""


def decompressed(data: bytes) -> bytes:
    """Return the bytes of a message, decompressed if zstd has compressed them.

    Only metadata.yaml states whether messages are compressed, and it may be missing.
    """
    # A serialized message starts with a zero byte, so it cannot look like zstd data.
    if not data.startswith(_ZSTD_MAGIC):
        return data
    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


def first_line(error: Exception) -> str:
    """Return the first line of the text of ``error``, or its type if it has none."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
