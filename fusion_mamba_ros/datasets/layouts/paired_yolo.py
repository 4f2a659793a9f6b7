# SPDX-License-Identifier: Apache-2.0
"""Read the paired YOLO layout: a folder for each modality, `labels/`, and lists of stems for the splits."""

from __future__ import annotations

import re

from fusion_mamba_ros.datasets.layouts.modality_folders import ModalityFolders
from fusion_mamba_ros.datasets.layouts.pairing_by_stem import list_pairs
from fusion_mamba_ros.datasets.layouts.split_lists import read_groups
from fusion_mamba_ros.datasets.pair_record import LayoutListing
from fusion_mamba_ros.datasets.yolo_labels import read_yolo_labels
from fusion_mamba_ros.perception.modality import known_modalities

# MSRS and MFNet name their day images 00123D.png and their night images 00123N.png.
_DAY_NIGHT = re.compile(r"^\d{5}(?P<group>[DN])$")


class PairedYoloLayout(ModalityFolders):
    """`rgb/STEM.*`, `thermal/STEM.*`, `labels/STEM.txt`; optional `classes.txt`, split lists and `groups/GROUP.txt`.

    The split lists are `train.txt`, `val.txt` and `test.txt`. Every registered modality may have a folder of its name.
    A modality without a folder is missing in the whole dataset.
    """

    FORM = "rgb/, thermal/ (at least one of them), labels/ and split lists train.txt, val.txt"
    DEFAULT_CLASSES = ("person", "bicycle", "car")
    LABELS = "labels"
    LABEL_SUFFIX = ".txt"

    @classmethod
    def folder_names(cls) -> dict[str, str]:
        """Return the names of all registered modalities as those of their folders."""
        return {name: name for name in known_modalities()}

    def list_split(self, split: str) -> LayoutListing:
        """Return the pairs of one split.

        The groups come from `groups/`. Otherwise they come from MSRS names that end in D (day) or N (night).
        """
        labels, names, groups = self.folder(self.LABELS), self.class_names(), read_groups(self.root)

        def group_of(stem: str) -> str:
            match = _DAY_NIGHT.match(stem)
            return groups.get(stem) or ({"D": "day", "N": "night"}[match["group"]] if match else "")

        return list_pairs(
            self.split_names(split),
            self.images(),
            lambda stem: read_yolo_labels(labels / f"{stem}.txt", names),
            group_of,
        )
