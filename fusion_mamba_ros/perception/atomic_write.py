# SPDX-License-Identifier: Apache-2.0
"""Replace a file atomically."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_NAME_START = 40


def write_atomically(path: str | os.PathLike[str], data: bytes, *, durable: bool = True) -> None:
    """Write ``data`` to ``path`` atomically: after a crash or on a full disk either the old or the new file exists.

    The data is written to a temporary file in the same folder, flushed to disk and renamed in one step. Missing parent
    folders are created. Without ``durable`` the data may reach the disk later. This is much faster for many small
    files, but a power cut can then destroy the file. Raises ``OSError`` that names the file. The previous file is then
    unchanged and the temporary file is removed.
    """
    target = Path(path)
    try:
        _replace(target, data, durable)
    except OSError as error:
        if error.errno is None:
            raise
        # The system's message names the temporary file or no file.
        raise type(error)(error.errno, error.strerror, os.fspath(target)) from error


def _replace(target: Path, data: bytes, durable: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # Use only the start of the name: the whole name plus prefix and suffix could be too long for the file system.
    start = target.name[:_NAME_START]
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{start}.", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        # mkstemp creates private files. Everyone who may read the folder should be able to read the file.
        os.chmod(temporary, (target.stat().st_mode & 0o777) if target.exists() else 0o644)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    if durable:
        _flush_folder(target.parent)


def _flush_folder(folder: Path) -> None:
    """Flush ``folder`` so that a rename in it survives a power cut, if the platform supports this."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
