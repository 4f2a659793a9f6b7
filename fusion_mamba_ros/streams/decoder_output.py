# SPDX-License-Identifier: Apache-2.0
"""Capture the messages that image decoders print to stderr."""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Callable
from typing import BinaryIO, TypeVar

Result = TypeVar("Result")

_STDERR = 2
# Messages of libjpeg, libpng and OpenCV. All other output comes from other threads and is passed on to stderr.
_FROM_DECODER = re.compile(
    rb"Corrupt JPEG data|Premature end of JPEG|Invalid SOS parameters|Inconsistent progression sequence|"
    rb"Warning: unknown JFIF|Unknown Adobe color|Application transferred|Unsupported marker|libpng (warning|error)|"
    rb"\[ ?(WARN|ERROR| INFO)[:@]|imdecode_|imread_|OpenCV\("
)
# libjpeg prints these messages when it replaces lost image data by grey. Its other messages are harmless.
_DATA_LOST = re.compile(r"premature end|bad Huffman code|bad arithmetic code|found marker|Not enough image data", re.I)

_redirected = threading.Lock()
# Hold the lock during a fork: otherwise a child could inherit a redirected stderr and a locked lock.
os.register_at_fork(before=_redirected.acquire, after_in_parent=_redirected.release, after_in_child=_redirected.release)


def run_decoder(decode: Callable[[], Result]) -> tuple[Result, list[str]]:
    """Return the result of ``decode`` and the lines that the decoder printed during the call.

    OpenCV gives no access to the messages of libjpeg and libpng. Therefore file descriptor 2 is redirected during the
    call. Only one call runs at a time. Output of other threads during the call is printed after it.
    """
    with _redirected:
        try:
            terminal = os.dup(_STDERR)
        except OSError:  # The process has no stderr, so the decoder cannot print.
            return decode(), []
        with tempfile.TemporaryFile() if not hasattr(os, "memfd_create") else _memory_file() as file:
            os.dup2(file.fileno(), _STDERR)
            try:
                result = decode()
            finally:
                os.dup2(terminal, _STDERR)
                os.close(terminal)
                file.seek(0)
                lines = file.read().splitlines(keepends=True)
                others = b"".join(line for line in lines if not _FROM_DECODER.match(line))
                if others:
                    os.write(_STDERR, others)
    return result, [line.decode("utf-8", "replace").strip() for line in lines if _FROM_DECODER.match(line)]


def lost_data(lines: list[str]) -> str | None:
    """Return the first line that reports missing or damaged image data, None if there is no such line."""
    return next((line for line in lines if _DATA_LOST.search(line)), None)


def _memory_file() -> BinaryIO:
    return os.fdopen(os.memfd_create("decoder_output"), "w+b", buffering=0)
