# SPDX-License-Identifier: Apache-2.0
"""Names of model configuration fields that an earlier version used."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

RENAMED = {"width": "scale"}
# The settings of the Fusion-Mamba block once stood among those of the model.
MOVED = {
    name: ("fusion_mamba", name) for name in ("dssf_count", "sscs", "gate", "dual_attention", "share_ssm", "state_size")
} | {"fusion_channels": ("fusion_mamba", "max_channels")}


def with_new_names(values: Mapping[str, Any], sections: Iterable[str]) -> dict[str, Any]:
    """Return ``values`` under today's names; of two names for one field the later in ``values`` counts.

    ``sections``: names that hold a mapping of fields; one of these fields may also be named as ``section.field``.
    """
    renamed: dict[str, Any] = {}
    sections = tuple(sections)
    for name, value in values.items():
        section, dot, field = name.partition(".")
        if name in MOVED or (dot and section in sections):
            section, field = MOVED.get(name, (section, field))
            renamed[section] = {**_mapping(renamed.get(section)), field: value}
        elif name in sections and isinstance(value, Mapping):
            renamed[name] = {**_mapping(renamed.get(name)), **value}
        else:
            renamed[RENAMED.get(name, name)] = value
    return renamed


def warn_of_old_names(names: Iterable[str], stacklevel: int) -> None:
    """Issue a ``DeprecationWarning`` for each of ``names`` that is an old one."""
    for name in names:
        if name in RENAMED or name in MOVED:
            message = f"model configuration: write {new_name(name)} for {name}, which the next release drops"
            warnings.warn(message, DeprecationWarning, stacklevel=stacklevel + 1)


def new_name(name: str) -> str:
    """Return today's name of an old field, with a dot between section and field."""
    return RENAMED[name] if name in RENAMED else ".".join(MOVED[name])


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
