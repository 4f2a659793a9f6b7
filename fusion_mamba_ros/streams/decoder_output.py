# SPDX-License-Identifier: Apache-2.0
"""Keep what image decoders print off the terminal, and return it instead."""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Callable
from typing import BinaryIO, TypeVar

Result = TypeVar("Result")

_STDERR = 2
# What libjpeg, libpng and OpenCV print. Anything else comes from another thread and is passed on.
_FROM_DECODER = re.compile(
    rb"Corrupt JPEG data|Premature end of JPEG|Invalid SOS parameters|Inconsistent progression sequence|"
    rb"Warning: unknown JFIF|Unknown Adobe color|Application transferred|Unsupported marker|libpng (warning|error)|"
    rb"\[ ?(WARN|ERROR| INFO)[:@]|imdecode_|imread_|OpenCV\("
)
# What libjpeg says where it replaces lost image data by grey, as opposed to remarks such as extraneous bytes.
_DATA_LOST = re.compile(r"premature end|bad Huffman code|bad arithmetic code|found marker|Not enough image data", re.I)

_redirected = threading.Lock()
# A process that is forked while stderr is redirected would keep the redirection, and the lock.
os.register_at_fork(before=_redirected.acquire, after_in_parent=_redirected.release, after_in_child=_redirected.release)


def run_decoder(decode: Callable[[], Result]) -> tuple[Result, list[str]]:
    """Return the result of ``decode`` and the lines that the decoder printed meanwhile.

    OpenCV offers no way to take the messages of libjpeg and libpng, so file descriptor 2 is redirected during the
    call. One call at a time. What other threads print meanwhile is printed afterwards.
    """
    with _redirected:
        try:
            terminal = os.dup(_STDERR)
        except OSError:  # the process has no stderr: nothing can be printed
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
    """Return the first line that says that image data is missing or damaged, None without one."""
    return next((line for line in lines if _DATA_LOST.search(line)), None)


def _memory_file() -> BinaryIO:
    return os.fdopen(os.memfd_create("decoder_output"), "w+b", buffering=0)
