# SPDX-License-Identifier: Apache-2.0
"""Read the paired YOLO layout: a folder for each modality, `labels/`, and lists of stems for the splits."""

from __future__ import annotations

import re
from pathlib import Path

from fusion_mamba_ros.datasets.image_files import list_images
from fusion_mamba_ros.datasets.layouts.layout import Layout
from fusion_mamba_ros.datasets.layouts.pairing_by_stem import image_stems, list_pairs
from fusion_mamba_ros.datasets.layouts.split_lists import list_splits, list_stems, read_groups, read_names
from fusion_mamba_ros.datasets.pair_record import LayoutListing
from fusion_mamba_ros.datasets.yolo_labels import read_yolo_labels
from fusion_mamba_ros.perception.modality import known_modalities

# MSRS and MFNet name their day images 00123D.png and their night images 00123N.png.
_DAY_NIGHT = re.compile(r"^\d{5}(?P<group>[DN])$")


class PairedYoloLayout(Layout):
    """`rgb/STEM.*`, `thermal/STEM.*`, `labels/STEM.txt`; optional `classes.txt`, split lists and `groups/GROUP.txt`.

    The split lists are `train.txt`, `val.txt` and `test.txt`. Every registered modality may have a folder of its name.
    A modality without a folder is missing in the whole dataset.
    """

    FORM = "rgb/, thermal/ (at least one of them), labels/ and split lists train.txt, val.txt"
    DEFAULT_CLASSES = ("person", "bicycle", "car")

    @classmethod
    def matches(cls, root: Path) -> bool:
        """Return whether ``root`` has the folders of two modalities, or of one modality and `labels/`."""
        folders = sum((root / name).is_dir() for name in known_modalities())
        return folders > 1 or (folders == 1 and (root / "labels").is_dir())

    def _images(self) -> dict[str, dict[str, list[Path]]]:
        """Return the image files of each modality that has a folder, by stem."""
        present = (name for name in known_modalities() if (self.root / name).is_dir())
        return {name: list_images(self.root / name) for name in present}

    def splits(self) -> tuple[str, ...]:
        """Return the splits that have a list, or `all`, which is every image in the folders, if there are no lists."""
        return list_splits(self.root) or ("all",)

    def split_names(self, split: str) -> list[str]:
        """Return the stems in the list of the split, or of all images for `all`."""
        if split != "all":
            return read_names(self.root / f"{split}.txt")
        return sorted(set().union(*self._images().values()))

    def stems_on_disk(self) -> dict[str, set[str]]:
        """Return the stems of images and label files."""
        return {**image_stems(self._images()), "label file": list_stems(self.root / "labels", ".txt")}

    def list_split(self, split: str) -> LayoutListing:
        """Return the pairs of one split.

        The groups come from `groups/`. Otherwise they come from MSRS names that end in D (day) or N (night).
        """
        labels, names, groups = self.folder("labels"), self.class_names(), read_groups(self.root)

        def group_of(stem: str) -> str:
            match = _DAY_NIGHT.match(stem)
            return groups.get(stem) or ({"D": "day", "N": "night"}[match["group"]] if match else "")

        return list_pairs(
            self.split_names(split),
            self._images(),
            lambda stem: read_yolo_labels(labels / f"{stem}.txt", names),
            group_of,
        )
