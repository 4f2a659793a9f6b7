# SPDX-License-Identifier: Apache-2.0
"""Read the metadata of an ONNX file without the package onnx, and without reading its tensors."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from fusion_mamba_ros.perception.checkpoint_metadata import (
    METADATA_KEY,
    CheckpointError,
    StoredDocument,
    parse_metadata_text,
)

# Field numbers of ModelProto and StringStringEntryProto in onnx.proto.
_GRAPH, _METADATA = 7, 14
_KEY, _VALUE = 1, 2
# Wire types of protocol buffers.
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_ENTRIES = 100
_MOST_ENTRY_BYTES = 20_000_000


def read_document(path: str | os.PathLike[str]) -> StoredDocument:
    """Return the metadata of an exported model. Raises `CheckpointError` with one sentence if the file is unusable."""
    return parse_properties(read_properties(path), path)


def parse_properties(properties: Mapping[str, str], path: str | os.PathLike[str]) -> StoredDocument:
    """Return the metadata in the properties of the file ``path``. Raises `CheckpointError` if they are unusable."""
    return parse_metadata_text(properties.get(METADATA_KEY), f"model '{path}'")


def read_properties(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the metadata properties of an ONNX file.

    Raises `CheckpointError` with one sentence if the file is missing, truncated or no ONNX file.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"model '{path}' does not exist: give the path of an .onnx file")
    found: dict[str, str] = {}
    has_graph = False
    try:
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            for number, length in _fields(file, size):
                has_graph |= number == _GRAPH
                if number == _METADATA and len(found) < _MOST_ENTRIES:
                    key, value = _entry(file, length)
                    found[key] = value
    except OSError as error:
        raise CheckpointError(f"model '{path}' cannot be read ({error.strerror})") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise CheckpointError(f"model '{path}' is not a complete ONNX file ({error})") from error
    if not has_graph:
        raise CheckpointError(f"model '{path}' is not a complete ONNX file (it has no graph)")
    return found


def _entry(file: BinaryIO, length: int) -> tuple[str, str]:
    if length > _MOST_ENTRY_BYTES:
        raise ValueError(f"a metadata entry has {length} bytes")
    texts = {_KEY: "", _VALUE: ""}
    end = file.tell() + length
    for number, size in _fields(file, end):
        if number in texts:
            texts[number] = file.read(size).decode()
    return texts[_KEY], texts[_VALUE]


def _fields(file: BinaryIO, end: int) -> Iterator[tuple[int, int]]:
    """Yield (number, length in bytes) of each length-delimited field before ``end``. Skip all other fields.

    At each yield the file is positioned at the start of the field's data.
    """
    while file.tell() < end:
        tag = _varint(file)
        kind = tag & 7
        if kind == _VARINT:
            _varint(file)
        elif kind == _BYTES:
            length = _varint(file)
            following = file.tell() + length
            if following > end:
                raise ValueError("it is truncated")
            yield tag >> 3, length
            file.seek(following)
        elif kind in (_FIXED32, _FIXED64):
            file.seek(4 if kind == _FIXED32 else 8, os.SEEK_CUR)
        else:
            raise ValueError("it is no protocol buffer")


def _varint(file: BinaryIO) -> int:
    value = shift = 0
    while shift < 70:
        byte = file.read(1)
        if not byte:
            raise ValueError("it is truncated")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
        shift += 7
    raise ValueError("it is no protocol buffer")
