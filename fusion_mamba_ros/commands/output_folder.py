# SPDX-License-Identifier: Apache-2.0
"""Create the output folder of a command before its work starts."""

from __future__ import annotations

from pathlib import Path


def make_output_folder(path: Path) -> None:
    """Create the folder ``path`` and its parents.

    Raises ``ValueError`` if this is impossible, for example because a file has this path.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--out '{path}' cannot be a folder ({error.strerror}): choose another") from error
