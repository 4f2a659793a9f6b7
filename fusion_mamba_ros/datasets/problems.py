# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a dataset, and how it is reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class DatasetError(ValueError):
    """The dataset cannot be used as asked; the message is one sentence with the remedy."""


class UnreadableImageError(DatasetError):
    """A picture file is missing, empty, truncated or not a picture."""


class ProblemKind(str, Enum):
    """The ways in which one pair of a dataset can be wrong."""

    UNMATCHED = "unmatched"  # a picture, list entry or label file without its partner
    UNREADABLE = "unreadable"  # a picture or label file that cannot be read
    OUT_OF_BOUNDS = "out of bounds"  # a box beyond the picture: clipped, or dropped if nothing is left
    BAD_BOX = "bad box"  # a box without area or with a value that is no number: dropped
    DUPLICATED = "duplicated"  # a name twice in one split, or the same box twice
    UNKNOWN_CLASS = "unknown class"  # a class that the class list does not have: the box is dropped


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the pair ``name``; ``detail`` says what, and what was done about it."""

    kind: ProblemKind
    name: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind.value}: {self.name}: {self.detail}"


def count_problems(problems: Iterable[Problem]) -> dict[str, int]:
    """Return how many problems there are of each kind, kinds without any left out."""
    counts = Counter(problem.kind for problem in problems)
    return {kind.value: counts[kind] for kind in ProblemKind if counts[kind]}
