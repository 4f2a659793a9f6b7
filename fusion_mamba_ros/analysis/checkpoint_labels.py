# SPDX-License-Identifier: Apache-2.0
"""Name checkpoints in a report, and recognise them by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

_DIGITS = 8


def checkpoint_labels(paths: Sequence[Path]) -> dict[str, Path]:
    """Return the files by a short unique name: the stem, or with its folder if several files have this stem.

    Raises ``ValueError`` if a file is given twice.
    """
    labels: dict[str, Path] = {}
    for path in paths:
        shared = sum(other.stem == path.stem for other in paths) > 1
        label = f"{path.resolve().parent.name}_{path.stem}" if shared else path.stem
        if label in labels:
            raise ValueError(f"checkpoints '{labels[label]}' and '{path}' have the same name {label}: rename one")
        labels[label] = path
    return labels


def content_digits(path: Path) -> str:
    """Return eight hexadecimal digits of the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:_DIGITS]
