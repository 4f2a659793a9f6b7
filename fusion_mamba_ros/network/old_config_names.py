# SPDX-License-Identifier: Apache-2.0
"""Old names of model configuration fields, which are still accepted."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

RENAMED = {"width": "scale"}
# Earlier versions had the settings of the Fusion-Mamba block among the fields of the model.
MOVED = {
    name: ("fusion_mamba", name) for name in ("dssf_count", "sscs", "gate", "dual_attention", "share_ssm", "state_size")
} | {"fusion_channels": ("fusion_mamba", "max_channels")}


def with_new_names(values: Mapping[str, Any], sections: Iterable[str]) -> dict[str, Any]:
    """Return ``values`` under the current names; if a field has two names in ``values``, the later one counts.

    ``sections``: names whose value is a mapping of fields. A single field can also be written as ``section.field``.
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
    """Issue a ``DeprecationWarning`` for each old name in ``names``."""
    for name in names:
        if name in RENAMED or name in MOVED:
            message = f"model configuration: write {new_name(name)} for {name}, which the next release drops"
            warnings.warn(message, DeprecationWarning, stacklevel=stacklevel + 1)


def new_name(name: str) -> str:
    """Return the current name of an old field, with a dot between section and field."""
    return RENAMED[name] if name in RENAMED else ".".join(MOVED[name])


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
