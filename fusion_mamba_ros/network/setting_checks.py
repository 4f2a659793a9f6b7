# SPDX-License-Identifier: Apache-2.0
"""Checks of single configuration values; each error message states the name, the value and the remedy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def require_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    """Raise ``ValueError`` unless ``value`` is one of ``choices``."""
    choices = tuple(choices)
    if value not in choices:
        raise ValueError(f"{name} is {value!r}: choose {', '.join(choices)}")


def require_int(name: str, value: Any, least: int, most: int) -> None:
    """Raise ``ValueError`` unless ``value`` is an integer from ``least`` to ``most``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} is {value!r}: give a whole number of at least {least}")
    if value > most:
        raise ValueError(f"{name} is {value}: give a whole number of at most {most}")


def require_bool(name: str, value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` is a bool."""
    if type(value) is not bool:
        raise ValueError(f"{name} is {value!r}: set it to true or false")
