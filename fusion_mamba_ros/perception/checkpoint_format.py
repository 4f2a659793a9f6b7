# SPDX-License-Identifier: Apache-2.0
"""The versions of a checkpoint, which cover its metadata document and its tensor names, and the migrations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

FORMAT_VERSION = 3
"""The version that this package writes."""

Migration = Callable[[dict[str, Any]], dict[str, Any]]
"""A function that converts a document of one version to the next version."""

MIGRATIONS: dict[int, Migration] = {
    # Version 1 stored operator fields beside model fields, and `scale` as `width`. ModelConfig reads both forms.
    1: dict,
    # Version 2 differs from version 3 in names of tensors alone: see `current_tensor_names`.
    2: dict,
}
"""Migrations by the version that they start from. To change the format, add an entry and raise FORMAT_VERSION."""


_RENAMED_IN_VERSION_3 = {"lead_in": "proj_in", "lead_out": "proj_out"}


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


def current_tensor_names(stored: Iterable[str], version: int) -> dict[str, str]:
    """Return the stored tensor name by the name that the present version gives the tensor.

    ``version`` is that of the file. A name stays as it is if the file has a tensor of its present name too.
    """
    names = dict.fromkeys(stored)
    if version >= 3:
        return {name: name for name in names}
    current = {name: ".".join(_RENAMED_IN_VERSION_3.get(part, part) for part in name.split(".")) for name in names}
    return {name if new != name and new in names else new: name for name, new in current.items()}


def with_current_names(tensors: Mapping[str, Any], version: int) -> dict[str, Any]:
    """Return tensors, stored by name in a file of ``version``, by the names of the present version."""
    return {new: tensors[old] for new, old in current_tensor_names(tensors, version).items()}
