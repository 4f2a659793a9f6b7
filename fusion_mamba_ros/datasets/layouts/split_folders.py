# SPDX-License-Identifier: Apache-2.0
"""Split folders: `visible/SPLIT/`, `infrared/SPLIT/`, as LLVIP has them, and the YOLO form of FLIR-aligned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

from ..annotation import Annotation
from ..image_files import list_pictures
from ..pair_record import LayoutListing
from ..problems import DatasetError
from ..voc_labels import read_voc_labels
from ..yolo_labels import read_yolo_labels
from .layout import Layout
from .pairing_by_stem import list_pairs
from .split_lists import SPLITS, list_splits, list_stems, read_groups, read_names

_SIDES = ("visible", "infrared")


class SplitFoldersLayout(Layout):
    """`[images/]visible/SPLIT/STEM.*` and `[images/]infrared/SPLIT/STEM.*` with VOC or YOLO labels.

    VOC (LLVIP): `Annotations/STEM.xml`. YOLO: `labels/SPLIT/STEM.txt`, or with `visible/` or `infrared/` between;
    then `classes.txt` must name the classes, since the class numbers of public copies conflict. A list `SPLIT.txt` in
    the dataset folder names the pairs of that split, whichever folder they lie in; they are then in no other split that
    has no list. So `val.txt` holds pairs out of a folder that has train and test only.
    """

    FORM = "visible/SPLIT/, infrared/SPLIT/ and Annotations/ or labels/ (LLVIP, FLIR-aligned in YOLO form)"
    DEFAULT_CLASSES = ("person",)

    @classmethod
    def matches(cls, root: Path) -> bool:
        """Return whether ``root`` or its `images/` has the two picture folders."""
        return any((pictures / "visible").is_dir() and (pictures / "infrared").is_dir() for pictures in _places(root))

    def _pictures(self) -> Path:
        return next(pictures for pictures in _places(self.root) if (pictures / "visible").is_dir())

    def splits(self) -> tuple[str, ...]:
        """Return the splits that have a list, or a folder on either side."""
        listed = list_splits(self.root)
        return tuple(split for split in SPLITS if split in listed or split in self._folders())

    def split_names(self, split: str) -> list[str]:
        """Return the stems in the split's list, or of the pictures on either side that are in no list."""
        listed = {name: self._listed(name) for name in list_splits(self.root)}
        if split in listed:
            return listed[split]
        found = {*self._side("visible", split), *self._side("infrared", split)}
        return sorted(found.difference(*listed.values()))

    def _folders(self) -> tuple[str, ...]:
        sides = [self._pictures() / side for side in _SIDES]
        return tuple(split for split in SPLITS if any((side / split).is_dir() for side in sides))

    def _listed(self, split: str) -> list[str]:
        """Return the stems in a split's list; its lines may be paths."""
        return [PurePosixPath(name).name for name in read_names(self.root / f"{split}.txt")]

    def stems_on_disk(self) -> dict[str, set[str]]:
        """Return the stems of pictures and label files, all splits together."""
        labels = list_stems(self.root / "Annotations", ".xml")
        if not (self.root / "Annotations").is_dir():
            labels = {path.stem for path in (self.root / "labels").rglob("*.txt")}
        sides = [{stem for split in self._folders() for stem in self._side(side, split)} for side in _SIDES]
        return {"RGB picture": sides[0], "thermal picture": sides[1], "label file": labels}

    def list_split(self, split: str) -> LayoutListing:
        """Return the pairs of one split."""
        groups = read_groups(self.root)
        return list_pairs(
            self.split_names(split),
            self._files("visible", split),
            self._files("infrared", split),
            self._label_reader(split),
            lambda stem: groups.get(stem, ""),
        )

    def _places_of(self, split: str) -> tuple[str, ...]:
        """Return the split folders that the pairs of a split may lie in, its own first."""
        return tuple(dict.fromkeys((split, *SPLITS))) if split in list_splits(self.root) else (split,)

    def _files(self, side: str, split: str) -> dict[str, list[Path]]:
        files: dict[str, list[Path]] = {}
        for folder in self._places_of(split):
            files = {**self._side(side, folder), **files}
        return files

    def _side(self, side: str, split: str) -> dict[str, list[Path]]:
        folder = self._pictures() / side / split
        return list_pictures(folder) if folder.is_dir() else {}

    def _label_reader(self, split: str) -> Callable[[str], Annotation]:
        annotations = self.root / "Annotations"
        if annotations.is_dir():
            return lambda stem: read_voc_labels(annotations / f"{stem}.xml")
        places = self._places_of(split)
        candidates = [[self.root / "labels" / side / place for side in ("", *_SIDES)] for place in places]
        # Of each place the first that is there.
        folders = [next((folder for folder in of_place if folder.is_dir()), None) for of_place in candidates]
        found = [folder for folder in folders if folder is not None]
        if not found:
            raise DatasetError(f"dataset {str(self.root)!r} has no labels: expected Annotations/ or labels/{split}/")
        if not (self.root / "classes.txt").is_file():
            raise DatasetError(
                f"dataset {str(self.root)!r} has YOLO labels but no 'classes.txt': add one class name on each line, in "
                "the order of the class numbers"
            )
        names = self.class_names()

        def read(stem: str) -> Annotation:
            files = [folder / f"{stem}.txt" for folder in found]
            return read_yolo_labels(next((file for file in files if file.is_file()), files[0]), names)

        return read


def _places(root: Path) -> tuple[Path, Path]:
    return root, root / "images"
