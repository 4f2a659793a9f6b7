# SPDX-License-Identifier: Apache-2.0
"""Replace a file as a whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_NAME_START = 40


def write_atomically(path: str | os.PathLike[str], data: bytes, *, durable: bool = True) -> None:
    """Write ``data`` to ``path`` as a whole: after a crash or on a full disk there is the old file or the new one.

    The bytes go to a temporary file in the same folder, reach the disk, and take the name in one step. Missing parent
    folders are made. Without ``durable`` the bytes may reach the disk later, which is much faster for many small
    files; a power cut can then cost the file. Raises ``OSError`` that names the file; the previous file is then
    untouched and the temporary one removed.
    """
    target = Path(path)
    try:
        _replace(target, data, durable)
    except OSError as error:
        if error.errno is None:
            raise
        # The system's message names the temporary file or none.
        raise type(error)(error.errno, error.strerror, os.fspath(target)) from error


def _replace(target: Path, data: bytes, durable: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # Not the whole name: together with what is added it could become too long for the file system.
    start = target.name[:_NAME_START]
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{start}.", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        # mkstemp makes files private; a checkpoint is read by whoever may read the folder.
        os.chmod(temporary, (target.stat().st_mode & 0o777) if target.exists() else 0o644)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    if durable:
        _flush_folder(target.parent)


def _flush_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power cut, where the platform can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
