# SPDX-License-Identifier: Apache-2.0
"""Read M3FD (Liu et al., TarDAL, CVPR 2022): `Vis/`, `Ir/`, `Annotation/` (VOC) and split lists."""

from __future__ import annotations

from pathlib import Path

from fusion_mamba_ros.datasets.image_files import list_images
from fusion_mamba_ros.datasets.layouts.layout import Layout
from fusion_mamba_ros.datasets.layouts.pairing_by_stem import list_pairs
from fusion_mamba_ros.datasets.layouts.split_lists import list_splits, list_stems, read_groups, read_names
from fusion_mamba_ros.datasets.pair_record import LayoutListing
from fusion_mamba_ros.datasets.voc_labels import read_voc_labels


class M3fdLayout(Layout):
    """`Vis/STEM.png`, `Ir/STEM.png`, `Annotation/STEM.xml`.

    Classes are identified by name, because the class numbers of public copies conflict. The authors publish no split.
    The lists `train.txt`, `val.txt` and `test.txt` are read from `meta/`, or from the dataset folder if `meta/` has no
    lists.
    """

    FORM = "Vis/, Ir/, Annotation/ (M3FD)"
    DEFAULT_CLASSES = ("People", "Car", "Bus", "Motorcycle", "Lamp", "Truck")

    @classmethod
    def matches(cls, root: Path) -> bool:
        """Return whether ``root`` has the two image folders."""
        return (root / "Vis").is_dir() and (root / "Ir").is_dir()

    def _lists(self) -> Path:
        return self.root / "meta" if list_splits(self.root / "meta") else self.root

    def splits(self) -> tuple[str, ...]:
        """Return the splits that have a list, or `all`, which is every image in the folders, if there are no lists."""
        return list_splits(self._lists()) or ("all",)

    def split_names(self, split: str) -> list[str]:
        """Return the stems in the list of the split, or of all images for `all`."""
        if split != "all":
            return read_names(self._lists() / f"{split}.txt")
        return sorted({*list_images(self.folder("Vis")), *list_images(self.folder("Ir"))})

    def stems_on_disk(self) -> dict[str, set[str]]:
        """Return the stems of images and label files."""
        return {
            "RGB image": set(list_images(self.folder("Vis"))),
            "thermal image": set(list_images(self.folder("Ir"))),
            "label file": list_stems(self.root / "Annotation", ".xml"),
        }

    def list_split(self, split: str) -> LayoutListing:
        """Return the pairs of one split."""
        labels, groups = self.folder("Annotation"), read_groups(self.root)
        return list_pairs(
            self.split_names(split),
            {"rgb": list_images(self.folder("Vis")), "thermal": list_images(self.folder("Ir"))},
            lambda stem: read_voc_labels(labels / f"{stem}.xml"),
            lambda stem: groups.get(stem, ""),
        )
