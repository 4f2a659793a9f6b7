# SPDX-License-Identifier: Apache-2.0
"""Parse YAML and JSON that someone else wrote, with bounds on length, depth and what aliases expand to."""

from __future__ import annotations

import json
from typing import Any

import yaml

MOST_YAML_CHARACTERS = 1_000_000
MOST_DEPTH = 32
_MOST_VALUES = 200_000


class DocumentError(ValueError):
    """A text that is no document that can be used; the message says why, without naming the file."""


def parse_yaml(text: str) -> Any:
    """Return the values of one YAML document. Raises `DocumentError`, whatever the text is."""
    if len(text) > MOST_YAML_CHARACTERS:
        raise DocumentError(f"it has {len(text)} characters, but at most {MOST_YAML_CHARACTERS} are read")
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DocumentError(f"it is not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise DocumentError(f"it is nested deeper than {MOST_DEPTH} levels") from error
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        # What the parser's constructors of numbers and dates raise for a tagged value that is none.
        raise DocumentError(f"it has a value that YAML cannot read: {error}") from error
    check_bounds(document)
    return document


def parse_json(data: str | bytes) -> Any:
    """Return the values of one JSON document. Raises `DocumentError`, whatever the text is."""
    try:
        return json.loads(data)
    except RecursionError as error:
        raise DocumentError("it is nested too deeply") from error
    except ValueError as error:
        raise DocumentError(f"it is not JSON: {error}") from error


def check_bounds(document: Any) -> None:
    """Raise `DocumentError` if ``document`` is nested too deeply or its aliases expand to too many values."""
    count = 0
    pending = [(document, 0)]
    while pending:
        value, depth = pending.pop()
        count += 1
        if depth > MOST_DEPTH:
            raise DocumentError(f"it is nested deeper than {MOST_DEPTH} levels")
        if count > _MOST_VALUES:
            raise DocumentError(f"it holds more than {_MOST_VALUES} values")
        if isinstance(value, dict):
            pending += [(item, depth + 1) for item in (*value, *value.values())]
        elif isinstance(value, (list, tuple, set)):
            pending += [(item, depth + 1) for item in value]
