# SPDX-License-Identifier: Apache-2.0
"""Paired-YOLO folder: `rgb/`, `thermal/`, `labels/`, and `train.txt`, `val.txt`, `test.txt` of stems."""

from __future__ import annotations

import re
from pathlib import Path

from ..image_files import list_pictures
from ..pair_record import LayoutListing
from ..yolo_labels import read_yolo_labels
from .layout import Layout
from .pairing_by_stem import list_pairs
from .split_lists import list_splits, list_stems, read_groups, read_names

# MSRS and MFNet name their pictures 00123D.png by day and 00123N.png by night.
_DAY_NIGHT = re.compile(r"^\d{5}(?P<group>[DN])$")


class PairedYoloLayout(Layout):
    """`rgb/STEM.*`, `thermal/STEM.*`, `labels/STEM.txt`; optional `classes.txt`, split lists and `groups/GROUP.txt`."""

    FORM = "rgb/, thermal/, labels/ and split lists train.txt, val.txt"
    DEFAULT_CLASSES = ("person", "bicycle", "car")

    @classmethod
    def matches(cls, root: Path) -> bool:
        """Return whether ``root`` has the two picture folders."""
        return (root / "rgb").is_dir() and (root / "thermal").is_dir()

    def splits(self) -> tuple[str, ...]:
        """Return the splits that have a list, or `all`: every picture in the folders."""
        return list_splits(self.root) or ("all",)

    def split_names(self, split: str) -> list[str]:
        """Return the stems in the split's list, or of all pictures."""
        if split != "all":
            return read_names(self.root / f"{split}.txt")
        return sorted({*list_pictures(self.folder("rgb")), *list_pictures(self.folder("thermal"))})

    def stems_on_disk(self) -> dict[str, set[str]]:
        """Return the stems of pictures and label files."""
        return {
            "RGB picture": set(list_pictures(self.folder("rgb"))),
            "thermal picture": set(list_pictures(self.folder("thermal"))),
            "label file": list_stems(self.root / "labels", ".txt"),
        }

    def list_split(self, split: str) -> LayoutListing:
        """Return the pairs of one split; groups from `groups/`, else from MSRS names ending in D (day) or N (night)."""
        labels, names, groups = self.folder("labels"), self.class_names(), read_groups(self.root)
        rgb, thermal = list_pictures(self.folder("rgb")), list_pictures(self.folder("thermal"))

        def group_of(stem: str) -> str:
            match = _DAY_NIGHT.match(stem)
            return groups.get(stem) or ({"D": "day", "N": "night"}[match["group"]] if match else "")

        return list_pairs(
            self.split_names(split),
            rgb,
            thermal,
            lambda stem: read_yolo_labels(labels / f"{stem}.txt", names),
            group_of,
        )
