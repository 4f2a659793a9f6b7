# SPDX-License-Identifier: Apache-2.0
"""Migration of the metadata of older checkpoints to the current format."""

from __future__ import annotations

import pytest

from fusion_mamba_ros.perception.checkpoint_format import FORMAT_VERSION, MIGRATIONS, FormatError, migrate

# A format 3 whose two predecessors called the class names "names" and then "classes".
STEPS = {
    1: lambda document: {"classes": document["names"]},
    2: lambda document: {"class_names": document["classes"]},
}


@pytest.mark.parametrize(
    "document",
    [
        {"format": 1, "names": ["person"]},
        {"format": 2, "classes": ["person"]},
        {"format": 3, "class_names": ["person"]},
    ],
)
def test_a_document_of_each_older_format_becomes_the_newest(document: dict[str, object]) -> None:
    before = dict(document)
    assert migrate(document, target=3, migrations=STEPS) == {"format": 3, "class_names": ["person"]}
    assert document == before


def test_a_newer_document_is_refused_with_the_remedy() -> None:
    with pytest.raises(FormatError, match="format 4, this package reads formats up to 3: update"):
        migrate({"format": 4}, target=3, migrations=STEPS)


def test_there_is_a_migration_from_every_older_format() -> None:
    assert set(MIGRATIONS) == set(range(1, FORMAT_VERSION))
