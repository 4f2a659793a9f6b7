# SPDX-License-Identifier: Apache-2.0
"""Where one labelled pair lies on disk: what a dataset layout finds and a dataset reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .annotation import Annotation
from .problems import Problem


@dataclass(frozen=True)
class PairRecord:
    """The two picture files of a pair and its boxes. ``name`` is the stem that matched them."""

    name: str
    rgb: Path
    thermal: Path
    annotation: Annotation
    group: str = ""


@dataclass
class LayoutListing:
    """What a layout found for one split: usable pairs, and what is wrong with the others."""

    records: list[PairRecord] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
