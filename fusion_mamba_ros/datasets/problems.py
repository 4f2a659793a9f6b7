# SPDX-License-Identifier: Apache-2.0
"""Define the problems of a dataset and how they are reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class DatasetError(ValueError):
    """Raised if a dataset cannot be used as requested. The message is one sentence with the remedy."""


class UnreadableImageError(DatasetError):
    """Raised if an image file is missing, empty, truncated, damaged or not an image."""


class ProblemKind(str, Enum):
    """Kinds of problems of one pair of a dataset."""

    UNMATCHED = "unmatched"  # an image, list entry or label file without its partner
    UNREADABLE = "unreadable"  # an image or label file that cannot be read
    OUT_OF_BOUNDS = "out of bounds"  # a box beyond the image: clipped, or dropped if too little is left
    BAD_BOX = "bad box"  # a box without area or with a non-finite value: dropped
    DUPLICATED = "duplicated"  # a duplicate name in one split, duplicate image content, or a duplicate box
    UNKNOWN_CLASS = "unknown class"  # a class that is not in the class list: the box is dropped


@dataclass(frozen=True)
class Problem:
    """One problem of the pair ``name``. ``detail`` describes the problem and the action taken."""

    kind: ProblemKind
    name: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind.value}: {self.name}: {self.detail}"


def count_problems(problems: Iterable[Problem]) -> dict[str, int]:
    """Return the number of problems of each kind. Kinds without problems are left out."""
    counts = Counter(problem.kind for problem in problems)
    return {kind.value: counts[kind] for kind in ProblemKind if counts[kind]}
