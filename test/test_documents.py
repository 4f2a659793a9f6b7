# SPDX-License-Identifier: Apache-2.0
"""YAML and JSON of any kind give values or one error, soon."""

from __future__ import annotations

import hostile_files
import pytest

from fusion_mamba_ros.perception.documents import MOST_DEPTH, DocumentError, parse_json, parse_yaml


def test_ordinary_documents_are_read() -> None:
    assert parse_yaml("a: &x [1, 2.5, yes]\nb: *x\nc: {d: text}") == {
        "a": [1, 2.5, True],
        "b": [1, 2.5, True],
        "c": {"d": "text"},
    }
    assert parse_yaml("") is None
    assert parse_json(b'{"a": [1, null]}') == {"a": [1, None]}


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (hostile_files.nested(400_000), "nested"),
        (hostile_files.nested(MOST_DEPTH + 2), "nested"),
        ("[" * 400_000, "nested"),
        ("{a: " * 100_000, "nested"),
        ("- " * 400_000, "nested"),
        ("? " * 400_000, "nested"),
        ("!!int " * 100_000 + "1", "not YAML"),
        (hostile_files.alias_bomb(), "holds more than|nested"),
        (hostile_files.alias_bomb(20), "holds more than"),
        ("a: &a [*a]", "nested"),
        ("a: &a {? *a : 1}", "not YAML|nested"),
        ("2001-99-99", "cannot read"),
        ('!!int ""', "cannot read"),
        ("!!timestamp x", "cannot read"),
        ("!!binary é", "not YAML|cannot read"),
        ("!!python/object/apply:os.system [x]", "not YAML"),
        ("9" * 10_000, "cannot read"),
        ("a: [1" + ":9" * 500 + "]", "64 bits"),
        ("a: " + "9" * 400, "64 bits"),
        ("? [a]\n: b", "not YAML"),
        ("a: \x00", "not YAML"),
        ("x" * 1_000_001, "characters"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else None,
)
def test_hostile_yaml_is_one_error(text: str, reason: str) -> None:
    with pytest.raises(DocumentError, match=reason):
        parse_yaml(text)


@pytest.mark.parametrize("text", [hostile_files.nested(400_000), "[" * 400_000, "{", "9" * 10_000, b"\xff\xfe\x00", ""])
def test_hostile_json_is_one_error(text: str | bytes) -> None:
    with pytest.raises(DocumentError):
        parse_json(text)
