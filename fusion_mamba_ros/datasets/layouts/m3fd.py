# SPDX-License-Identifier: Apache-2.0
"""Read M3FD (Liu et al., TarDAL, CVPR 2022): `Vis/`, `Ir/`, `Annotation/` (VOC) and split lists."""

from __future__ import annotations

from pathlib import Path

from fusion_mamba_ros.datasets.layouts.modality_folders import ModalityFolders
from fusion_mamba_ros.datasets.layouts.pairing_by_stem import list_pairs
from fusion_mamba_ros.datasets.layouts.split_lists import list_splits, read_groups
from fusion_mamba_ros.datasets.pair_record import LayoutListing
from fusion_mamba_ros.datasets.voc_labels import read_voc_labels


class M3fdLayout(ModalityFolders):
    """`Vis/STEM.png`, `Ir/STEM.png`, `Annotation/STEM.xml`.

    Classes are identified by name, because the class numbers of public copies conflict. The authors publish no split.
    The lists `train.txt`, `val.txt` and `test.txt` are read from `meta/`, or from the dataset folder if `meta/` has no
    lists. A modality without a folder is missing in the whole dataset.
    """

    FORM = "Vis/, Ir/ (at least one of them), Annotation/ (M3FD)"
    DEFAULT_CLASSES = ("People", "Car", "Bus", "Motorcycle", "Lamp", "Truck")
    LABELS = "Annotation"
    LABEL_SUFFIX = ".xml"

    @classmethod
    def folder_names(cls) -> dict[str, str]:
        """Return the names of the two image folders."""
        return {"rgb": "Vis", "thermal": "Ir"}

    def lists(self) -> Path:
        """Return `meta/`, or the dataset folder if `meta/` has no lists."""
        return self.root / "meta" if list_splits(self.root / "meta") else self.root

    def list_split(self, split: str) -> LayoutListing:
        """Return the pairs of one split."""
        labels, groups = self.folder(self.LABELS), read_groups(self.root)
        return list_pairs(
            self.split_names(split),
            self.images(),
            lambda stem: read_voc_labels(labels / f"{stem}.xml"),
            lambda stem: groups.get(stem, ""),
        )
