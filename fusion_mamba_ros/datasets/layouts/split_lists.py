# SPDX-License-Identifier: Apache-2.0
"""Read text files with one name per line: the pairs of a split or group, or the class names."""

from __future__ import annotations

from pathlib import Path

from fusion_mamba_ros.datasets.image_files import IMAGE_SUFFIXES
from fusion_mamba_ros.datasets.problems import DatasetError

SPLITS = ("train", "val", "test")
_GROUPS = "groups"


def read_names(path: Path) -> list[str]:
    """Return the names in a list file in file order, without image suffixes, empty lines and `#` comments.

    Raises ``DatasetError`` if the file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"list {str(path)!r} cannot be read: {error}") from error
    names = (line.split("#", 1)[0].strip() for line in lines)
    return [_without_image_suffix(name) for name in names if name]


def list_splits(root: Path) -> tuple[str, ...]:
    """Return the splits out of train, val and test that have a list file in ``root``."""
    return tuple(split for split in SPLITS if (root / f"{split}.txt").is_file())


def list_stems(folder: Path, suffix: str) -> set[str]:
    """Return the stems of the files in ``folder`` with ``suffix``. Empty if the folder does not exist."""
    return {path.stem for path in folder.glob(f"*{suffix}")}


def read_groups(root: Path) -> dict[str, str]:
    """Return the group of each name from the lists `groups/GROUP.txt`.

    Raises ``DatasetError`` if a name is in two groups.
    """
    groups: dict[str, str] = {}
    for path in sorted((root / _GROUPS).glob("*.txt")):
        for name in read_names(path):
            if groups.setdefault(name, path.stem) != path.stem:
                raise DatasetError(f"{name!r} is in two groups of {str(root)!r}: {groups[name]} and {path.stem}")
    return groups


def _without_image_suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in IMAGE_SUFFIXES else name
