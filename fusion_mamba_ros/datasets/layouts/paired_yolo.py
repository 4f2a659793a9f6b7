# SPDX-License-Identifier: Apache-2.0
"""Paired-YOLO folder: `rgb/`, `thermal/`, `labels/`, and `train.txt`, `val.txt`, `test.txt` with a stem on each line."""

from __future__ import annotations

import re
from pathlib import Path

from ..image_files import list_pictures
from ..pair_record import LayoutListing
from ..problems import DatasetError, Problem, ProblemKind
from ..yolo_labels import read_yolo_labels
from .pairing_by_stem import list_pairs
from .split_lists import list_splits, read_groups, read_names

DEFAULT_CLASSES = ("person", "bicycle", "car")
# MSRS and MFNet name their pictures 00123D.png by day and 00123N.png by night.
_DAY_NIGHT = re.compile(r"^\d{5}(?P<group>[DN])$")


def is_paired_yolo(root: Path) -> bool:
    """Return whether ``root`` has the folders of this layout."""
    return (root / "rgb").is_dir() and (root / "thermal").is_dir()


def class_names(root: Path) -> tuple[str, ...]:
    """Return the names in `classes.txt`, or person, bicycle, car."""
    path = root / "classes.txt"
    return tuple(read_names(path)) if path.is_file() else DEFAULT_CLASSES


def splits(root: Path) -> tuple[str, ...]:
    """Return the splits that have a list, or `all` where there are none."""
    return list_splits(root) or ("all",)


def list_split(root: Path, split: str) -> LayoutListing:
    """Return the pairs of one split. Without any split list, `all` is every picture in the folders."""
    names = class_names(root)
    rgb, thermal = list_pictures(root / "rgb"), list_pictures(root / "thermal")
    groups = read_groups(root)
    if split == "all" and not list_splits(root):
        stems = sorted(set(rgb) | set(thermal))
    else:
        stems = read_names(root / f"{split}.txt")

    def group_of(stem: str) -> str:
        match = _DAY_NIGHT.match(stem)
        return groups.get(stem) or ({"D": "day", "N": "night"}[match["group"]] if match else "")

    if not (root / "labels").is_dir():
        raise DatasetError(f"{str(root)!r} has no folder 'labels': add one YOLO label file for each pair")
    listing = list_pairs(
        stems, rgb, thermal, lambda stem: read_yolo_labels(root / "labels" / f"{stem}.txt", names), group_of
    )
    listing.problems += unlisted_problems(root, split, set(rgb) ^ set(thermal), set(stems))
    return listing


def unlisted_problems(root: Path, split: str, lone: set[str], stems: set[str]) -> list[Problem]:
    """Return a problem for each picture without a partner that no split lists, reported with the first split."""
    every = splits(root)
    if split != every[0]:
        return []
    listed = stems | {stem for other in every[1:] for stem in read_names(root / f"{other}.txt")}
    return [
        Problem(ProblemKind.UNMATCHED, stem, "picture without a partner, and in no split")
        for stem in sorted(lone - listed)
    ]
