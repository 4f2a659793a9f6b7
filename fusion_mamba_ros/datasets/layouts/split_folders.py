# SPDX-License-Identifier: Apache-2.0
"""Split folders: `visible/SPLIT/`, `infrared/SPLIT/`, as LLVIP has them, and the YOLO form of FLIR-aligned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

from fusion_mamba_ros.datasets.annotation import Annotation
from fusion_mamba_ros.datasets.image_files import list_pictures
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

    VOC (LLVIP): `Annotations/STEM.xml`. YOLO: `labels/SPLIT/STEM.txt`, or with `visible/` or `infrared/` between;
    then `classes.txt` must name the classes, since the class numbers of public copies conflict. A list `SPLIT.txt` in
    the dataset folder names the pairs of that split, whichever folder they lie in; they are then in no other split that
    has no list. So `val.txt` holds pairs out of a folder that has train and test only.
    """

    FORM = "visible/SPLIT/, infrared/SPLIT/ and Annotations/ or labels/ (LLVIP, FLIR-aligned in YOLO form)"
    DEFAULT_CLASSES = ("person",)

    @classmethod
    def matches(cls, root: Path) -> bool:
        """Return whether ``root`` or its `images/` has the two picture folders, or one, and there are labels."""
        folders = max(sum((place / name).is_dir() for name in _FOLDERS.values()) for place in _places(root))
        labelled = any((root / name).is_dir() for name in ("Annotations", "labels"))
        return folders == len(_FOLDERS) or (folders == 1 and labelled)

    def _pictures(self) -> dict[str, Path]:
        """Return the folder of each modality that has one."""
        found = [
            {key: place / name for key, name in _FOLDERS.items() if (place / name).is_dir()}
            for place in _places(self.root)
        ]
        return max(found, key=len)

    def splits(self) -> tuple[str, ...]:
        """Return the splits that have a list, or for which a modality has a folder."""
        listed = list_splits(self.root)
        return tuple(split for split in SPLITS if split in listed or split in self._split_folders())

    def split_names(self, split: str) -> list[str]:
        """Return the stems in the split's list, or of the images of any modality that are in no list."""
        listed = {name: self._listed(name) for name in list_splits(self.root)}
        if split in listed:
            return listed[split]
        found = set().union(*self._in_folder(split).values())
        return sorted(found.difference(*listed.values()))

    def _split_folders(self) -> tuple[str, ...]:
        """Return the splits for which a modality has a folder."""
        folders = self._pictures().values()
        return tuple(split for split in SPLITS if any((folder / split).is_dir() for folder in folders))

    def _listed(self, split: str) -> list[str]:
        """Return the stems in a split's list; its lines may be paths."""
        return [PurePosixPath(name).name for name in read_names(self.root / f"{split}.txt")]

    def stems_on_disk(self) -> dict[str, set[str]]:
        """Return the stems of pictures and label files, all splits together."""
        labels = list_stems(self.root / "Annotations", ".xml")
        if not (self.root / "Annotations").is_dir():
            labels = {path.stem for path in (self.root / "labels").rglob("*.txt")}
        stems: dict[str, set[str]] = {f"{modality_named(name).title} picture": set() for name in self._pictures()}
        for split in self._split_folders():
            for name, files in self._in_folder(split).items():
                stems[f"{modality_named(name).title} picture"].update(files)
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
        """Return the split folders that the pairs of a split may lie in, its own first."""
        return tuple(dict.fromkeys((split, *SPLITS))) if split in list_splits(self.root) else (split,)

    def _of_split(self, split: str) -> dict[str, dict[str, list[Path]]]:
        """Return the image files that the pairs of a split may have, by modality and stem."""
        files: dict[str, dict[str, list[Path]]] = {name: {} for name in self._pictures()}
        for folder in self._places_of(split):
            for name, found in self._in_folder(folder).items():
                files[name] = {**found, **files[name]}
        return files

    def _in_folder(self, split: str) -> dict[str, dict[str, list[Path]]]:
        """Return the image files in the folders of one split by modality and stem."""
        folders = {name: folder / split for name, folder in self._pictures().items()}
        return {name: list_pictures(folder) if folder.is_dir() else {} for name, folder in folders.items()}

    def _label_reader(self, split: str) -> Callable[[str], Annotation]:
        annotations = self.root / "Annotations"
        if annotations.is_dir():
            return lambda stem: read_voc_labels(annotations / f"{stem}.xml")
        places = self._places_of(split)
        candidates = [[self.root / "labels" / side / place for side in ("", *_FOLDERS.values())] for place in places]
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
