# SPDX-License-Identifier: Apache-2.0
"""Read the YAML file that joins dataset folders and procedural scenes under one class list."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from fusion_mamba_ros.datasets.layouts.split_lists import SPLITS
from fusion_mamba_ros.datasets.problems import DatasetError
from fusion_mamba_ros.datasets.scene_source import SceneSource
from fusion_mamba_ros.perception.documents import parse_yaml
from fusion_mamba_ros.perception.registration import Homographies, homographies_from

MOST_RATIO = 100


@dataclass(frozen=True)
class FolderSource:
    """A dataset folder and its settings in a joined dataset.

    ``name`` is the prefix of the names of its pairs. ``format`` is the name of a layout or ``auto``. ``rename`` maps
    the folder's class names to names of the class list. ``splits`` maps train, val or test to the folder's own split,
    or to None if the folder is not used for it. ``ratio`` and ``labelled`` are those of `SourceTraits`; ``labelled`` is
    None if the folder's own class list says which classes are labelled.
    ``homographies`` maps a modality to its homography to RGB. It has no entry for aligned images.
    """

    path: Path
    name: str
    format: str = "auto"
    rename: Mapping[str, str] = field(default_factory=dict)
    splits: Mapping[str, str | None] = field(default_factory=dict)
    ratio: float | None = None
    labelled: tuple[str, ...] | None = None
    homographies: Homographies = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class DatasetDescription:
    """Content of a dataset path: one folder, or the entries of a YAML file."""

    folders: tuple[FolderSource, ...]
    scenes: tuple[tuple[str, SceneSource], ...] = ()
    classes: tuple[str, ...] | None = None
    validate_on_test: bool = False
    allow_overlap: bool = False


def describe_dataset(path: str | Path) -> DatasetDescription:
    """Return the description of a dataset folder or a YAML file. Raises ``DatasetError`` with the cause."""
    path = Path(path).expanduser()
    if path.is_dir():
        return DatasetDescription((FolderSource(path, path.resolve().name),))
    if not path.exists():
        raise DatasetError(f"dataset {str(path)!r} does not exist: give a dataset folder or a YAML file")
    try:
        document = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"dataset file {str(path)!r} cannot be read as YAML: {' '.join(str(error).split())}"
        ) from error
    known = ("classes", "datasets", "validate_on_test", "allow_overlap")
    entries = document.get("datasets") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries or set(document) - set(known):
        raise DatasetError(f"dataset file {str(path)!r}: expected a list 'datasets', and at most {', '.join(known)}")
    folders, scenes = [], []
    for entry in entries:
        if isinstance(entry, dict) and "scene" in entry:
            if set(entry) - {"scene", "name"}:
                raise DatasetError(f"dataset file {str(path)!r}: a scene entry has only 'scene' and 'name': {entry}")
            scenes.append((str(entry.get("name", "scene")), SceneSource.from_dict(entry["scene"])))
        else:
            folders.append(_folder_source(path, entry))
    names = [source.name for source in folders] + [name for name, _ in scenes]
    if len(set(names)) != len(names):
        raise DatasetError(
            f"dataset file {str(path)!r}: names {', '.join(names)} are not unique: add 'name' to an entry"
        )
    if folders and not scenes and all(source.ratio is not None for source in folders):
        raise DatasetError(
            f"dataset file {str(path)!r}: every entry has a ratio: leave it out of the entry that the ratios refer to"
        )
    classes = document.get("classes")
    if classes is not None and (not isinstance(classes, list) or not classes):
        raise DatasetError(f"dataset file {str(path)!r}: classes are {classes!r}: expected a list of names")
    return DatasetDescription(
        tuple(folders),
        tuple(scenes),
        tuple(str(name) for name in classes) if classes else None,
        _flag(path, document, "validate_on_test"),
        _flag(path, document, "allow_overlap"),
    )


def _folder_source(file: Path, entry: Any) -> FolderSource:
    if isinstance(entry, str):
        entry = {"path": entry}
    known = {item.name for item in fields(FolderSource)} - {"homographies"} | {"homography"}
    if not isinstance(entry, dict) or "path" not in entry or set(entry) - known:
        raise DatasetError(
            f"dataset file {str(file)!r}: entry {entry!r}: expected a folder, or a mapping with 'path' and some of "
            f"{', '.join(sorted(known - {'path'}))}, or with 'scene'"
        )
    text = os.path.expandvars(str(entry["path"]))
    if unset := re.search(r"\$\{?(\w+)", text):
        raise DatasetError(f"dataset file {str(file)!r}: path {text!r}: environment variable {unset[1]} is not set")
    path = (file.parent / Path(text).expanduser()).resolve()
    splits, rename = entry.get("splits", {}), entry.get("rename", {})
    if not isinstance(splits, dict) or set(splits) - set(SPLITS) or not isinstance(rename, dict):
        raise DatasetError(
            f"dataset file {str(file)!r}, {path.name}: splits must map some of {', '.join(SPLITS)} to the folder's own "
            "splits, rename must map its class names to those of the class list"
        )
    numbers = [name for name in (*rename, *rename.values()) if not isinstance(name, str)]
    if numbers:
        raise DatasetError(
            f"dataset file {str(file)!r}, {path.name}: rename has {numbers[0]!r}: it maps names of classes, not their "
            "numbers; numbers get their names from the folder's classes.txt"
        )
    try:
        homographies = homographies_from(entry.get("homography"))
    except ValueError as error:
        raise DatasetError(f"dataset file {str(file)!r}, {path.name}: {error}") from error
    ratio, labelled = entry.get("ratio"), entry.get("labelled")
    if ratio is not None and (type(ratio) not in (int, float) or not 0 < ratio <= MOST_RATIO):
        raise DatasetError(
            f"dataset file {str(file)!r}, {path.name}: ratio is {ratio!r}: expected a number above 0, at most "
            f"{MOST_RATIO}, such as 0.5 for half as many images as pairs without a ratio"
        )
    if labelled is not None and (not isinstance(labelled, list) or not all(type(name) is str for name in labelled)):
        raise DatasetError(
            f"dataset file {str(file)!r}, {path.name}: labelled is {labelled!r}: expected a list of class names"
        )
    return FolderSource(
        path,
        str(entry.get("name", path.name)),
        str(entry.get("format", "auto")),
        rename,
        splits,
        None if ratio is None else float(ratio),
        None if labelled is None else tuple(labelled),
        homographies,
    )


def _flag(file: Path, document: Mapping[str, Any], name: str) -> bool:
    value = document.get(name, False)
    if not isinstance(value, bool):
        raise DatasetError(f"dataset file {str(file)!r}: {name} is {value!r}: expected true or false")
    return value
