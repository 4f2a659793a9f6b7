# SPDX-License-Identifier: Apache-2.0
"""Read M3FD (Liu et al., TarDAL, CVPR 2022): `Vis/`, `Ir/`, `Annotation/` (VOC) and split lists."""

from __future__ import annotations

from pathlib import Path

from fusion_mamba_ros.datasets.image_files import list_images
from fusion_mamba_ros.datasets.layouts.layout import Layout
from fusion_mamba_ros.datasets.layouts.pairing_by_stem import image_stems, list_pairs
from fusion_mamba_ros.datasets.layouts.split_lists import list_splits, list_stems, read_groups, read_names
from fusion_mamba_ros.datasets.pair_record import LayoutListing
from fusion_mamba_ros.datasets.voc_labels import read_voc_labels

_FOLDERS = {"rgb": "Vis", "thermal": "Ir"}


class M3fdLayout(Layout):
    """`Vis/STEM.png`, `Ir/STEM.png`, `Annotation/STEM.xml`.

    Classes are identified by name, because the class numbers of public copies conflict. The authors publish no split.
    The lists `train.txt`, `val.txt` and `test.txt` are read from `meta/`, or from the dataset folder if `meta/` has no
    lists. A modality without a folder is missing in the whole dataset.
    """

    FORM = "Vis/, Ir/ (at least one of them), Annotation/ (M3FD)"
    DEFAULT_CLASSES = ("People", "Car", "Bus", "Motorcycle", "Lamp", "Truck")

    @classmethod
    def matches(cls, root: Path) -> bool:
        """Return whether ``root`` has both image folders, or one of them and `Annotation/`."""
        folders = sum((root / name).is_dir() for name in _FOLDERS.values())
        return folders > 1 or (folders == 1 and (root / "Annotation").is_dir())

    def _images(self) -> dict[str, dict[str, list[Path]]]:
        """Return the image files of each modality that has a folder, by stem."""
        present = {name: self.root / folder for name, folder in _FOLDERS.items() if (self.root / folder).is_dir()}
        return {name: list_images(folder) for name, folder in present.items()}

    def _lists(self) -> Path:
        return self.root / "meta" if list_splits(self.root / "meta") else self.root

    def splits(self) -> tuple[str, ...]:
        """Return the splits that have a list, or `all`, which is every image in the folders, if there are no lists."""
        return list_splits(self._lists()) or ("all",)

    def split_names(self, split: str) -> list[str]:
        """Return the stems in the list of the split, or of all images for `all`."""
        if split != "all":
            return read_names(self._lists() / f"{split}.txt")
        return sorted(set().union(*self._images().values()))

    def stems_on_disk(self) -> dict[str, set[str]]:
        """Return the stems of images and label files."""
        return {**image_stems(self._images()), "label file": list_stems(self.root / "Annotation", ".xml")}

    def list_split(self, split: str) -> LayoutListing:
        """Return the pairs of one split."""
        labels, groups = self.folder("Annotation"), read_groups(self.root)
        return list_pairs(
            self.split_names(split),
            self._images(),
            lambda stem: read_voc_labels(labels / f"{stem}.xml"),
            lambda stem: groups.get(stem, ""),
        )
