# SPDX-License-Identifier: Apache-2.0
"""Read split folders, `visible/SPLIT/` and `infrared/SPLIT/`: LLVIP, and FLIR-aligned in YOLO format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

from fusion_mamba_ros.datasets.annotation import Annotation
from fusion_mamba_ros.datasets.image_files import list_images
from fusion_mamba_ros.datasets.layouts.layout import Layout
from fusion_mamba_ros.datasets.layouts.pairing_by_stem import list_pairs
from fusion_mamba_ros.datasets.layouts.split_lists import SPLITS, list_splits, list_stems, read_groups, read_names
from fusion_mamba_ros.datasets.pair_record import LayoutListing
from fusion_mamba_ros.datasets.problems import DatasetError
from fusion_mamba_ros.datasets.voc_labels import read_voc_labels
from fusion_mamba_ros.datasets.yolo_labels import read_yolo_labels
from fusion_mamba_ros.perception.modality import modality_named

_FOLDERS = {"rgb": "visible", "thermal": "infrared"}


class SplitFoldersLayout(Layout):
    """`[images/]visible/SPLIT/STEM.*` and `[images/]infrared/SPLIT/STEM.*`, or one of them, with VOC or YOLO labels.

    VOC labels (LLVIP) are `Annotations/STEM.xml`. YOLO labels are `labels/SPLIT/STEM.txt`,
    `labels/visible/SPLIT/STEM.txt` or `labels/infrared/SPLIT/STEM.txt`. YOLO labels need a `classes.txt`, because the
    class numbers of public copies conflict. A list `SPLIT.txt` in the dataset folder defines the pairs of that split.
    The pairs may lie in any split folder. Listed pairs are excluded from all splits without a list. So `val.txt` can
    hold out pairs of a dataset that only has train and test folders.
    """

    FORM = "visible/SPLIT/, infrared/SPLIT/ and Annotations/ or labels/ (LLVIP, FLIR-aligned in YOLO form)"
    DEFAULT_CLASSES = ("person",)

    @classmethod
    def matches(cls, root: Path) -> bool:
        """Return whether ``root`` or its `images/` has both image folders, or one image folder and labels."""
        folders = max(sum((place / name).is_dir() for name in _FOLDERS.values()) for place in _places(root))
        labelled = any((root / name).is_dir() for name in ("Annotations", "labels"))
        return folders == len(_FOLDERS) or (folders == 1 and labelled)

    def _images(self) -> dict[str, Path]:
        """Return the folder of each modality that has one."""
        found = [
            {key: place / name for key, name in _FOLDERS.items() if (place / name).is_dir()}
            for place in _places(self.root)
        ]
        return max(found, key=len)

    def splits(self) -> tuple[str, ...]:
        """Return the splits that have a list or a folder of a modality."""
        listed = list_splits(self.root)
        return tuple(split for split in SPLITS if split in listed or split in self._split_folders())

    def split_names(self, split: str) -> list[str]:
        """Return the stems in the list of the split.

        Without a list, return the stems of all images in the folders of the split that are in no list.
        """
        listed = {name: self._listed(name) for name in list_splits(self.root)}
        if split in listed:
            return listed[split]
        found = set().union(*self._in_folder(split).values())
        return sorted(found.difference(*listed.values()))

    def _split_folders(self) -> tuple[str, ...]:
        """Return the splits for which a modality has a folder."""
        folders = self._images().values()
        return tuple(split for split in SPLITS if any((folder / split).is_dir() for folder in folders))

    def _listed(self, split: str) -> list[str]:
        """Return the stems in the list of a split. Lines of the list may be paths."""
        return [PurePosixPath(name).name for name in read_names(self.root / f"{split}.txt")]

    def stems_on_disk(self) -> dict[str, set[str]]:
        """Return the stems of images and label files of all splits."""
        labels = list_stems(self.root / "Annotations", ".xml")
        if not (self.root / "Annotations").is_dir():
            labels = {path.stem for path in (self.root / "labels").rglob("*.txt")}
        stems: dict[str, set[str]] = {f"{modality_named(name).title} image": set() for name in self._images()}
        for split in self._split_folders():
            for name, files in self._in_folder(split).items():
                stems[f"{modality_named(name).title} image"].update(files)
        return {**stems, "label file": labels}

    def list_split(self, split: str) -> LayoutListing:
        """Return the pairs of one split."""
        groups = read_groups(self.root)
        return list_pairs(
            self.split_names(split),
            self._of_split(split),
            self._label_reader(split),
            lambda stem: groups.get(stem, ""),
        )

    def _places_of(self, split: str) -> tuple[str, ...]:
        """Return the split folders that may contain the pairs of a split, its own folder first."""
        return tuple(dict.fromkeys((split, *SPLITS))) if split in list_splits(self.root) else (split,)

    def _of_split(self, split: str) -> dict[str, dict[str, list[Path]]]:
        """Return the image files in all folders that may contain pairs of the split, by modality and stem."""
        files: dict[str, dict[str, list[Path]]] = {name: {} for name in self._images()}
        for folder in self._places_of(split):
            for name, found in self._in_folder(folder).items():
                files[name] = {**found, **files[name]}
        return files

    def _in_folder(self, split: str) -> dict[str, dict[str, list[Path]]]:
        """Return the image files in the folders of one split by modality and stem."""
        folders = {name: folder / split for name, folder in self._images().items()}
        return {name: list_images(folder) if folder.is_dir() else {} for name, folder in folders.items()}

    def _label_reader(self, split: str) -> Callable[[str], Annotation]:
        annotations = self.root / "Annotations"
        if annotations.is_dir():
            return lambda stem: read_voc_labels(annotations / f"{stem}.xml")
        places = self._places_of(split)
        candidates = [
            [self.root / "labels" / modality / place for modality in ("", *_FOLDERS.values())] for place in places
        ]
        # Use the first existing label folder for each split folder.
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
