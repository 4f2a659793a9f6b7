# SPDX-License-Identifier: Apache-2.0
"""The versions of the metadata document in a checkpoint, and how an older one becomes the present one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

FORMAT_VERSION = 2
"""The version that this package writes."""

Migration = Callable[[dict[str, Any]], dict[str, Any]]
"""Return the document of the next version from one of the version under which the migration is registered."""

MIGRATIONS: dict[int, Migration] = {
    # Fields of a fusion operator stood beside those of the model, and `scale` was `width`: ModelConfig reads both.
    1: dict,
}
"""Migrations by the version that they start from. A change of the format adds one entry and raises FORMAT_VERSION."""


class FormatError(ValueError):
    """A document whose version this package does not read; the message completes "checkpoint '...' "."""


def migrate(
    document: Mapping[str, Any],
    *,
    target: int = FORMAT_VERSION,
    migrations: Mapping[int, Migration] = MIGRATIONS,
) -> dict[str, Any]:
    """Return ``document`` in the version ``target``; the argument is not changed.

    Raises ``FormatError`` for a newer version or one that was never written, and ``KeyError`` without a version.
    """
    version = document["format"]
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise FormatError(f"has format {str(version)[:20]!r}: expected a whole number from 1 to {target}")
    if version > target:
        raise FormatError(f"has format {version}, this package reads formats up to {target}: update fusion_mamba_ros")
    current = dict(document)
    for step in range(version, target):
        current = {**migrations[step](current), "format": step + 1}
    return current
