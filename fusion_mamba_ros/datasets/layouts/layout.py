# SPDX-License-Identifier: Apache-2.0
"""Define the interface of dataset layouts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from fusion_mamba_ros.datasets.layouts.split_lists import read_names
from fusion_mamba_ros.datasets.pair_record import LayoutListing
from fusion_mamba_ros.datasets.problems import DatasetError, Problem, ProblemKind


class Layout(ABC):
    """Base class that finds the pairs, splits and class names of a dataset folder.

    ``FORM`` is a short description of the folder structure for error messages.
    """

    FORM: ClassVar[str]
    DEFAULT_CLASSES: ClassVar[tuple[str, ...]]

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    @abstractmethod
    def matches(cls, root: Path) -> bool:
        """Return whether ``root`` has this folder structure."""

    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """Return the names of the existing splits out of train, val and test, or `all` if there are none."""

    @abstractmethod
    def split_names(self, split: str) -> list[str]:
        """Return the stems of one split, including those of unusable pairs."""

    @abstractmethod
    def list_split(self, split: str) -> LayoutListing:
        """Return the usable pairs of one split and the problems of the other pairs."""

    def stems_on_disk(self) -> dict[str, set[str]]:
        """Return the stems of the existing files by kind: RGB image, thermal image, label file.

        The result is empty if an annotation file lists the image files (COCO).
        """
        return {}

    def class_names(self) -> tuple[str, ...]:
        """Return the names in `classes.txt`, or the default classes of this layout."""
        path = self.root / "classes.txt"
        return tuple(read_names(path)) if path.is_file() else self.DEFAULT_CLASSES

    def unlisted_problems(self) -> list[Problem]:
        """Return a problem for each stem that lacks one of its files and is in no split."""
        on_disk = self.stems_on_disk()
        listed = {stem for split in self.splits() for stem in self.split_names(split)}
        problems = []
        for stem in sorted(set().union(*on_disk.values()) - listed):
            there = [what for what, stems in on_disk.items() if stem in stems]
            if len(there) < len(on_disk):
                problems.append(Problem(ProblemKind.UNMATCHED, stem, f"only {' and '.join(there)}, and in no split"))
        return problems

    def folder(self, name: str) -> Path:
        """Return a folder of the dataset. Raises ``DatasetError`` if it does not exist."""
        path = self.root / name
        if not path.is_dir():
            raise DatasetError(f"dataset {str(self.root)!r} has no folder {name!r}: expected {self.FORM}")
        return path
