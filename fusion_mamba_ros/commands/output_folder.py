# SPDX-License-Identifier: Apache-2.0
"""The folder that a command writes to, made before the work whose result it takes."""

from __future__ import annotations

from pathlib import Path


def make_output_folder(path: Path) -> None:
    """Make the folder ``path`` and its parents; raises ``ValueError`` if it cannot be, for example where a file is."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--out '{path}' cannot be a folder ({error.strerror}): choose another") from error
