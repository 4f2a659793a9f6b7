# SPDX-License-Identifier: Apache-2.0
"""The bags of a fleet: a folder of bags, or a list file with tags."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BAG_FILES = (".mcap", ".db3", ".zstd")


class BagListError(ValueError):
    """Error for a folder or list without bags. The message is one sentence."""


@dataclass(frozen=True)
class ListedBag:
    """One bag, its name (unique in the list, used for its output folder) and its tags."""

    path: Path
    name: str
    tags: tuple[str, ...] = ()


def read_bag_list(path: Path) -> list[ListedBag]:
    """Return the bags in a folder, or those that a list file names, in their order.

    A line of a list file is a path, relative to the file, and its tags. A path with spaces stands in double quotes.
    Empty lines and lines that start with `#` are left out. A listed bag need not exist: its evaluation will say so.
    """
    entries: list[tuple[Path, tuple[str, ...]]]
    if path.is_dir():
        entries = [(item, ()) for item in sorted(path.iterdir()) if _looks_like_a_bag(item)]
        if not entries:
            raise BagListError(f"folder '{path}' has no bags: expected folders with metadata.yaml, or .mcap files")
    elif path.is_file():
        entries = list(_lines(path))
        if not entries:
            raise BagListError(f"list '{path}' names no bag: write one path on each line, then its tags")
    else:
        raise BagListError(f"'{path}' does not exist: give a folder of bags or a list file")
    return list(_named(entries))


def _lines(path: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BagListError(f"list '{path}' cannot be read: {error}") from error
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith('"'):
            name, closed, rest = line[1:].partition('"')
            if not closed:
                raise BagListError(f"list '{path}' line {number} has no closing quote")
        else:
            name, _, rest = line.partition(" ")
        yield path.parent / name, tuple(dict.fromkeys(rest.split()))


def _looks_like_a_bag(path: Path) -> bool:
    if path.is_file():
        return path.suffix == ".mcap"
    if not path.is_dir():
        return False
    return (path / "metadata.yaml").exists() or any(item.suffix in _BAG_FILES for item in path.iterdir())


def _named(entries: list[tuple[Path, tuple[str, ...]]]) -> Iterator[ListedBag]:
    """Yield the bags with unique names: of bags with the same file name, the second is called `NAME-2`."""
    seen: Counter[str] = Counter()
    for path, tags in entries:
        name = path.stem if path.suffix == ".mcap" else path.name
        # A name such as `..` would place the results outside of the output folder.
        if name in ("", ".."):
            name = path.resolve().name or "bag"
        seen[name] += 1
        while seen[name] > 1:
            name = f"{name}-{seen[name]}"
            seen[name] += 1
        yield ListedBag(path, name, tags)
