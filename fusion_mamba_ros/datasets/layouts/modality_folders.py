# SPDX-License-Identifier: Apache-2.0
"""Define what layouts with one image folder for each modality have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from fusion_mamba_ros.datasets.image_files import list_images
from fusion_mamba_ros.datasets.layouts.layout import Layout
from fusion_mamba_ros.datasets.layouts.pairing_by_stem import image_stems
from fusion_mamba_ros.datasets.layouts.split_lists import list_splits, list_stems, read_names


class ModalityFolders(Layout):
    """Base class of layouts with a folder for each modality, a folder of label files, and lists of stems.

    A modality without a folder is missing in the whole dataset. ``LABELS`` is the folder of the label files and
    ``LABEL_SUFFIX`` their suffix.
    """

    LABELS: ClassVar[str]
    LABEL_SUFFIX: ClassVar[str]

    @classmethod
    @abstractmethod
    def folder_names(cls) -> Mapping[str, str]:
        """Return the name of the folder of each modality that the layout can have."""

    @classmethod
    def matches(cls, root: Path) -> bool:
        """Return whether ``root`` has the folders of two modalities, or of one modality and that of the labels."""
        folders = sum((root / name).is_dir() for name in cls.folder_names().values())
        return folders > 1 or (folders == 1 and (root / cls.LABELS).is_dir())

    def images(self) -> dict[str, dict[str, list[Path]]]:
        """Return the image files of each modality that has a folder, by stem."""
        folders = {modality: self.root / name for modality, name in self.folder_names().items()}
        return {modality: list_images(folder) for modality, folder in folders.items() if folder.is_dir()}

    def lists(self) -> Path:
        """Return the folder of the lists `train.txt`, `val.txt` and `test.txt`."""
        return self.root

    def splits(self) -> tuple[str, ...]:
        """Return the splits that have a list, or `all`, which is every image in the folders, if there are no lists."""
        return list_splits(self.lists()) or ("all",)

    def split_names(self, split: str) -> list[str]:
        """Return the stems in the list of the split, or of all images for `all`."""
        if split != "all":
            return read_names(self.lists() / f"{split}.txt")
        return sorted(set().union(*self.images().values()))

    def stems_on_disk(self) -> dict[str, set[str]]:
        """Return the stems of images and label files."""
        labels = list_stems(self.root / self.LABELS, self.LABEL_SUFFIX)
        return {**image_stems(self.images()), "label file": labels}
