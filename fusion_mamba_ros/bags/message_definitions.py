# SPDX-License-Identifier: Apache-2.0
"""Add message types to a typestore by their definitions."""

from __future__ import annotations

from collections.abc import Mapping

from rosbags.typesys import get_types_from_msg
from rosbags.typesys.store import Typestore


def register_definitions(typestore: Typestore, definitions: Mapping[str, str]) -> None:
    """Add message types, by name, to ``typestore``. Types that it has already stay as they are."""
    for name, definition in definitions.items():
        if name not in typestore.types:
            typestore.register(get_types_from_msg(definition, name))
