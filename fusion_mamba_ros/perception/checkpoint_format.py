# SPDX-License-Identifier: Apache-2.0
"""The versions of a checkpoint's metadata document, and the migrations from older versions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

FORMAT_VERSION = 2
"""The version that this package writes."""

Migration = Callable[[dict[str, Any]], dict[str, Any]]
"""A function that converts a document of one version to the next version."""

MIGRATIONS: dict[int, Migration] = {
    # Version 1 stored operator fields beside model fields, and `scale` as `width`. ModelConfig reads both forms.
    1: dict,
}
"""Migrations by the version that they start from. To change the format, add an entry and raise FORMAT_VERSION."""


class FormatError(ValueError):
    """Raised for a document version that this package cannot read. The message completes "checkpoint '...' "."""


def migrate(
    document: Mapping[str, Any],
    *,
    target: int = FORMAT_VERSION,
    migrations: Mapping[int, Migration] = MIGRATIONS,
) -> dict[str, Any]:
    """Return ``document`` migrated to the version ``target``. The argument is not changed.

    Raises ``FormatError`` if the version is newer than ``target`` or was never written, and ``KeyError`` if the
    document has no version.
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
