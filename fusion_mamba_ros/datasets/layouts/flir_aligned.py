# SPDX-License-Identifier: Apache-2.0
"""Read FLIR-aligned in VOC format (Zhang et al., ICIP 2020), with all images in `JPEGImages/`."""

from __future__ import annotations

from pathlib import Path

from fusion_mamba_ros.datasets.image_files import list_images
from fusion_mamba_ros.datasets.layouts.layout import Layout
from fusion_mamba_ros.datasets.layouts.pairing_by_stem import image_stems, list_pairs
from fusion_mamba_ros.datasets.layouts.split_lists import list_stems, read_groups, read_names
from fusion_mamba_ros.datasets.pair_record import LayoutListing
from fusion_mamba_ros.datasets.voc_labels import read_voc_labels

_ENDS = {"rgb": "_RGB", "thermal": "_PreviewData"}
_LABEL_END = _ENDS["thermal"]
_LISTS = {"train": "align_train.txt", "val": "align_validation.txt", "test": "align_test.txt"}


class FlirAlignedLayout(Layout):
    """`JPEGImages/FLIR_00001_RGB.jpg` and `FLIR_00001_PreviewData.jpeg`, `Annotations/FLIR_00001_PreviewData.xml`.

    The end of the stem, `_RGB` or `_PreviewData`, identifies the modality. A modality without an image is missing in
    the whole dataset. The splits are `align_train.txt`, `align_validation.txt` and `align_test.txt` in the dataset
    folder or in `ImageSets/Main/`. Their names may end in `_RGB` or `_PreviewData`. The few `dog` boxes of the release
    are dropped, because `dog` is not in the class list.
    """

    FORM = "JPEGImages/, Annotations/, align_train.txt, align_validation.txt (FLIR-aligned)"
    DEFAULT_CLASSES = ("person", "bicycle", "car")

    @classmethod
    def matches(cls, root: Path) -> bool:
        """Return whether ``root`` has the folder `JPEGImages/` and an `align_*.txt` list."""
        layout = cls(root)
        return (root / "JPEGImages").is_dir() and bool(layout.splits())

    def _lists(self) -> Path:
        beside = any((self.root / name).is_file() for name in _LISTS.values())
        return self.root if beside else self.root / "ImageSets" / "Main"

    def splits(self) -> tuple[str, ...]:
        """Return the splits that have an `align_*.txt` list."""
        return tuple(split for split, name in _LISTS.items() if (self._lists() / name).is_file())

    def split_names(self, split: str) -> list[str]:
        """Return the stems in the list of the split, without `_PreviewData` and `_RGB`."""
        names = read_names(self._lists() / _LISTS[split])
        return [name.removesuffix(_ENDS["thermal"]).removesuffix(_ENDS["rgb"]) for name in names]

    def stems_on_disk(self) -> dict[str, set[str]]:
        """Return the stems of images and label files, without `_PreviewData` and `_RGB`."""
        labels = {stem.removesuffix(_LABEL_END) for stem in list_stems(self.root / "Annotations", ".xml")}
        return {**image_stems(self._images()), "label file": labels}

    def _images(self) -> dict[str, dict[str, list[Path]]]:
        """Return the image files of each modality that has any, by stem. Without any image, name all modalities."""
        images: dict[str, dict[str, list[Path]]] = {name: {} for name in _ENDS}
        for stem, files in list_images(self.folder("JPEGImages")).items():
            for name, end in _ENDS.items():
                if stem.endswith(end):
                    images[name][stem.removesuffix(end)] = files
        return {name: found for name, found in images.items() if found} or images

    def list_split(self, split: str) -> LayoutListing:
        """Return the pairs of one split."""
        labels, groups = self.folder("Annotations"), read_groups(self.root)
        return list_pairs(
            self.split_names(split),
            self._images(),
            lambda stem: read_voc_labels(labels / f"{stem}{_LABEL_END}.xml"),
            lambda stem: groups.get(stem, ""),
        )
