# SPDX-License-Identifier: Apache-2.0
"""Read COCO JSON files, `annotations/SPLIT.json`, in which each image has a file name for each modality."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fusion_mamba_ros.datasets.annotation import Annotation
from fusion_mamba_ros.datasets.image_files import check_complete
from fusion_mamba_ros.datasets.layouts.layout import Layout
from fusion_mamba_ros.datasets.layouts.split_lists import SPLITS
from fusion_mamba_ros.datasets.pair_record import LayoutListing, PairRecord
from fusion_mamba_ros.datasets.problems import DatasetError, Problem, ProblemKind, UnreadableImageError
from fusion_mamba_ros.perception.documents import parse_json
from fusion_mamba_ros.perception.modality import REFERENCE, known_modalities, modality_named

_RGB_KEY = "file_name"


def _key(modality: str) -> str:
    return _RGB_KEY if modality == REFERENCE else f"{modality}_{_RGB_KEY}"


class CocoLayout(Layout):
    """`annotations/SPLIT.json` (or `instances_SPLIT.json`), each image with `file_name` and `thermal_file_name`.

    Paths are relative to the dataset folder. Further modalities use the key `NAME_file_name`. If no image of the split
    has the key of a modality, this modality is missing in the whole split. The name of a pair is the path of its RGB
    file without suffix. `iscrowd` regions are skipped. An image may have a `group`.
    """

    FORM = "annotations/SPLIT.json with file_name and thermal_file_name for each image (COCO)"
    DEFAULT_CLASSES = ()

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._documents: dict[str, dict[str, Any]] = {}

    @classmethod
    def matches(cls, root: Path) -> bool:
        """Return whether ``root`` has an annotation file of a split."""
        return bool(cls(root).splits())

    def splits(self) -> tuple[str, ...]:
        """Return the splits that have an annotation file."""
        return tuple(split for split in SPLITS if self._file(split) is not None)

    def class_names(self) -> tuple[str, ...]:
        """Return the category names of the first split in the order of their ids."""
        categories = self._read(self.splits()[0])["categories"]
        # Sort numbers by value and before texts: some tools write both.
        ordered = sorted(
            categories,
            key=lambda item: (
                isinstance(item["id"], str),
                0 if isinstance(item["id"], str) else item["id"],
                str(item["id"]),
            ),
        )
        return tuple(str(category["name"]) for category in ordered)

    def split_names(self, split: str) -> list[str]:
        """Return the names of all images."""
        return [_name(image) for image in self._read(split)["images"]]

    def list_split(self, split: str) -> LayoutListing:
        """Return the pairs of one split."""
        document = self._read(split)
        class_of = {category["id"]: str(category["name"]) for category in document["categories"]}
        boxes_of: dict[Any, list[tuple[list[float], str]]] = {}
        for item in document["annotations"]:
            if not item.get("iscrowd"):
                class_name = class_of.get(item["category_id"], f"class {item['category_id']}")
                boxes_of.setdefault(item["image_id"], []).append((item["bbox"], class_name))
        listing = LayoutListing()
        modalities = [name for name in known_modalities() if any(image.get(_key(name)) for image in document["images"])]
        known_ids = {image["id"] for image in document["images"]}
        for image_id in sorted(set(boxes_of) - known_ids, key=str):
            detail = f"{len(boxes_of[image_id])} boxes for an image id that the file does not list"
            listing.problems.append(Problem(ProblemKind.UNMATCHED, f"image id {image_id}", detail))
        seen: set[str] = set()
        for image in document["images"]:
            found = self._find_pair(image, modalities, boxes_of.get(image["id"], []), seen)
            if isinstance(found, Problem):
                listing.problems.append(found)
            else:
                listing.records.append(found)
        return listing

    def _find_pair(
        self, image: dict[str, Any], modalities: list[str], boxes: list[tuple[list[float], str]], seen: set[str]
    ) -> PairRecord | Problem:
        name = _name(image)
        if name in seen:
            return Problem(ProblemKind.DUPLICATED, name, "twice in the split: used once")
        seen.add(name)
        paths = {}
        for modality in modalities:
            title, key = modality_named(modality).title, _key(modality)
            if not image.get(key):
                return Problem(ProblemKind.UNMATCHED, name, f"no {title} file name ({key}): pair left out")
            paths[modality] = path = self.root / str(image[key])
            if not path.is_file():
                return Problem(ProblemKind.UNMATCHED, name, f"no {title} image {str(path)!r}: pair left out")
            try:
                check_complete(path)
            except UnreadableImageError as error:
                return Problem(ProblemKind.UNREADABLE, name, f"{error}: pair left out")
        try:
            corners = np.array([box for box, _ in boxes], np.float64).reshape(-1, 4)
        except (ValueError, TypeError, OverflowError):
            return Problem(ProblemKind.UNREADABLE, name, "a bbox is not four numbers: pair left out")
        with np.errstate(over="ignore", invalid="ignore"):  # Non-finite boxes are reported when the pair is read.
            corners[:, 2:] += corners[:, :2]
        annotation = Annotation(corners, tuple(class_name for _, class_name in boxes))
        group = image.get("group")
        return PairRecord(name, paths, annotation, "" if group is None else str(group))

    def _file(self, split: str) -> Path | None:
        names = (f"{split}.json", f"instances_{split}.json")
        paths = (self.root / "annotations" / name for name in names)
        return next((path for path in paths if path.is_file()), None)

    def _read(self, split: str) -> dict[str, Any]:
        if split in self._documents:
            return self._documents[split]
        path = self._file(split)
        assert path is not None  # Callers only request existing splits.
        try:
            document: dict[str, Any] = parse_json(path.read_bytes())
            images_ok = all(_is_id(image["id"]) and image.get(_RGB_KEY) for image in document["images"])
            categories_ok = all(_is_id(category["id"]) and "name" in category for category in document["categories"])
            boxes_ok = all(
                _is_id(item["image_id"]) and _is_id(item["category_id"]) and "bbox" in item
                for item in document["annotations"]
            )
        except KeyError as error:
            raise DatasetError(f"{str(path)!r} is not a COCO json: something in it has no {error}") from error
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise DatasetError(f"{str(path)!r} is not a COCO json: {type(error).__name__} {error}") from error
        if not (images_ok and categories_ok and boxes_ok):
            raise DatasetError(
                f"{str(path)!r} is not a COCO json of pairs: every image needs id and file_name, every category id and "
                "name, every annotation image_id, category_id and bbox; ids are whole numbers or texts"
            )
        self._documents[split] = document
        return document


def _is_id(value: Any) -> bool:
    return isinstance(value, (int, str)) and not isinstance(value, bool)


def _name(image: dict[str, Any]) -> str:
    return Path(str(image[_RGB_KEY])).with_suffix("").as_posix()
