# SPDX-License-Identifier: Apache-2.0
"""Parse untrusted YAML and JSON, with bounds on length, nesting depth and expanded aliases."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

MOST_YAML_CHARACTERS = 1_000_000
MOST_DEPTH = 32
_MOST_VALUES = 200_000
# More than MOST_DEPTH, because texts and comments may hold unpaired brackets.
_MOST_BRACKETS = 200
_BRACKET = re.compile(r"[\[\]{}]")


class DocumentError(ValueError):
    """Raised for a text that is not a usable document. The message gives the reason but not the file name."""


def parse_yaml(text: str) -> Any:
    """Return the values of one YAML document. Raises only `DocumentError`, whatever the text is."""
    if len(text) > MOST_YAML_CHARACTERS:
        raise DocumentError(f"it has {len(text)} characters, but at most {MOST_YAML_CHARACTERS} are read")
    if _bracket_depth(text) > _MOST_BRACKETS:
        raise DocumentError(f"it is nested deeper than {MOST_DEPTH} levels")
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DocumentError(f"it is not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise DocumentError(f"it is nested deeper than {MOST_DEPTH} levels") from error
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        # The parser's constructors of numbers and dates raise these for an invalid tagged value.
        raise DocumentError(f"it has a value that YAML cannot read: {error}") from error
    check_bounds(document)
    return document


def _bracket_depth(text: str) -> int:
    """Return the nesting depth of brackets, including those in texts.

    This check keeps the parser from exhausting the stack.
    """
    depth = most = 0
    for match in _BRACKET.finditer(text):
        depth = depth + 1 if match[0] in "[{" else max(depth - 1, 0)
        most = max(most, depth)
    return most


def parse_json(data: str | bytes) -> Any:
    """Return the values of one JSON document. Raises only `DocumentError`, whatever the text is."""
    try:
        return json.loads(data)
    except RecursionError as error:
        raise DocumentError("it is nested too deeply") from error
    except ValueError as error:
        raise DocumentError(f"it is not JSON: {error}") from error


def check_bounds(document: Any) -> None:
    """Raise `DocumentError` if ``document`` is nested too deeply or expands, by its aliases, to too many values.

    Whole numbers beyond 64 bits are refused too, because neither floats nor tensors can hold them.
    """
    count = 0
    pending = [(document, 0)]
    while pending:
        value, depth = pending.pop()
        count += 1
        if depth > MOST_DEPTH:
            raise DocumentError(f"it is nested deeper than {MOST_DEPTH} levels")
        if count > _MOST_VALUES:
            raise DocumentError(f"it holds more than {_MOST_VALUES} values")
        if isinstance(value, int) and abs(value) >= 2**63:
            raise DocumentError("it has a whole number of more than 64 bits")
        if isinstance(value, dict):
            pending += [(item, depth + 1) for item in (*value, *value.values())]
        elif isinstance(value, (list, tuple, set)):
            pending += [(item, depth + 1) for item in value]
