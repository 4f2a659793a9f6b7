# SPDX-License-Identifier: Apache-2.0
"""Read ground truth: a topic of a bag, a COCO file or a folder of YOLO labels, keyed by stamp."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from fusion_mamba_ros.bags.bag_reading import Bag
from fusion_mamba_ros.datasets.yolo_labels import read_yolo_labels
from fusion_mamba_ros.evaluation.bag_evaluation.detection_arrays import (
    detection_topics,
    read_detection_topic,
    source_name,
)
from fusion_mamba_ros.evaluation.bag_evaluation.ground_truth import GroundTruth, GroundTruthBuilder, GroundTruthError
from fusion_mamba_ros.perception.documents import DocumentError, parse_json, parse_yaml

DEFAULT_TOPIC = "/ground_truth"
_SECONDS = re.compile(r"^(\d+)\.(\d{1,9})$")
_CLASS_FILES = ("classes.txt", "data.yaml", "dataset.yaml")


def read_ground_truth(name: str, bag: Bag, problems: list[str], *, topic: str | None = None) -> GroundTruth:
    """Return the ground truth ``name``: a topic of ``bag``, or the path of another bag, a COCO file or a YOLO folder.

    ``topic`` is the topic in another bag; if None, `/ground_truth` or its only topic with detection arrays. Raises
    `GroundTruthError`, `BagError` or ``DatasetError`` with one sentence.
    """
    path = Path(name)
    if name in bag.topics:
        return read_topic(bag, name, problems)
    if path.suffix.lower() == ".json" and path.is_file():
        return read_coco(path)
    if path.is_dir() and not (path / "metadata.yaml").exists() and not _has_bag_file(path):
        return read_yolo_folder(path)
    if path.exists():
        with Bag(path) as other:
            return read_topic(other, topic or _topic_of(other), problems)
    listed = ", ".join(detection_topics(bag)) or "none"
    raise GroundTruthError(
        f"ground truth '{name}' is no topic of the bag (with detection arrays: {listed}) and no path: give a topic, a "
        "bag, a COCO file (.json) or a folder of YOLO labels"
    )


def read_topic(bag: Bag, topic: str, problems: list[str]) -> GroundTruth:
    """Return the arrays of a topic as ground truth. Their scores are not used."""
    found = read_detection_topic(bag, topic, problems)
    builder = GroundTruthBuilder(source_name(bag, topic), "topic")
    builder.name_classes(found.class_names)
    for array in found.arrays:
        builder.add(array.stamp_ns, array.boxes, [found.class_names[label] for label in array.labels])
    return builder.build()


def read_coco(path: Path) -> GroundTruth:
    """Return the boxes of a COCO file. The stamp of an image is its `stamp_ns`, or the stem of its `file_name`."""
    document = _coco_document(path)
    try:
        class_of = {category["id"]: str(category["name"]) for category in document["categories"]}
        stamps = {image["id"]: _stamp_of_image(image) for image in document["images"]}
        boxes: dict[Any, list[list[float]]] = {}
        names: dict[Any, list[str]] = {}
        for item in document["annotations"]:
            if item.get("iscrowd"):
                continue
            left, top, width, height = map(float, item["bbox"])
            boxes.setdefault(item["image_id"], []).append([left, top, left + width, top + height])
            class_name = class_of.get(item["category_id"], f"class {item['category_id']}")
            names.setdefault(item["image_id"], []).append(class_name)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise GroundTruthError(f"COCO file '{path}' cannot be used: {_reason(error)}") from error
    strangers = sorted(str(image) for image in boxes if image not in stamps)
    if strangers:
        raise GroundTruthError(f"COCO file '{path}' has annotations of image {strangers[0]}, which it does not list")
    builder = GroundTruthBuilder(path.name, "coco")
    builder.name_classes(list(class_of.values()))
    for image, stamp_ns in stamps.items():
        builder.add(stamp_ns, np.array(boxes.get(image, []), np.float32).reshape(-1, 4), names.get(image, []))
    return builder.build()


def read_yolo_folder(folder: Path) -> GroundTruth:
    """Return the boxes of `STAMP.txt` files, in ``folder`` or its folder `labels`.

    Class names come from `classes.txt`, `data.yaml` or `dataset.yaml` in ``folder``.
    """
    names = _yolo_class_names(folder)
    place = folder / "labels" if (folder / "labels").is_dir() else folder
    builder = GroundTruthBuilder(folder.name, "yolo", normalised=True)
    builder.name_classes(names)
    for file in sorted(place.glob("*.txt")):
        if file.name in _CLASS_FILES:
            continue
        annotation = read_yolo_labels(file, names)
        builder.add(_stamp_of_name(file.name), np.asarray(annotation.boxes, np.float32), annotation.classes)
    return builder.build()


def _coco_document(path: Path) -> dict[str, Any]:
    try:
        document = parse_json(path.read_text(encoding="utf-8"))
    except (DocumentError, OSError, UnicodeDecodeError) as error:
        raise GroundTruthError(f"COCO file '{path}' cannot be read: {error}") from error
    if not isinstance(document, dict) or not {"images", "annotations", "categories"} <= document.keys():
        raise GroundTruthError(f"'{path}' is no COCO file: it needs images, annotations and categories")
    return document


def _stamp_of_image(image: dict[str, Any]) -> int:
    stamp = image.get("stamp_ns")
    if stamp is None:
        return _stamp_of_name(str(image["file_name"]))
    if isinstance(stamp, bool) or not isinstance(stamp, int):
        raise GroundTruthError(f"image {image['id']} has the stamp_ns {stamp!r}: expected a whole number")
    return stamp


def _stamp_of_name(name: str) -> int:
    """Return the stamp that the stem of a file name tells: nanoseconds, or seconds with a fraction."""
    stem = re.sub(r"\.[A-Za-z][A-Za-z0-9]*$", "", name.rsplit("/", 1)[-1])
    if stem.isdecimal():
        return int(stem)
    seconds = _SECONDS.match(stem)
    if seconds is None:
        raise GroundTruthError(
            f"file name '{name}' is no stamp: name files by the stamp of their frame, in nanoseconds "
            "(1700000000033333333) or seconds (1700000000.033333333)"
        )
    return int(seconds[1]) * 1_000_000_000 + int(seconds[2].ljust(9, "0"))


def _yolo_class_names(folder: Path) -> list[str]:
    for name in _CLASS_FILES:
        file = folder / name
        if not file.exists():
            continue
        text = file.read_text(encoding="utf-8", errors="replace")
        if file.suffix == ".txt":
            return [line.strip() for line in text.splitlines() if line.strip()]
        try:
            listed = (parse_yaml(text) or {}).get("names")
        except (AttributeError, DocumentError) as error:
            raise GroundTruthError(f"'{file}' cannot be read: {_reason(error)}") from error
        if isinstance(listed, dict):
            listed = [listed[key] for key in sorted(listed)]
        if not isinstance(listed, list):
            raise GroundTruthError(f"'{file}' has no list of names: expected 'names: [person, ...]'")
        return [str(item) for item in listed]
    raise GroundTruthError(f"folder '{folder}' has no class names: add classes.txt with one name per line")


def _topic_of(bag: Bag) -> str:
    topics = detection_topics(bag)
    if DEFAULT_TOPIC in topics:
        return DEFAULT_TOPIC
    if len(topics) == 1:
        return topics[0]
    listed = ", ".join(topics) or "none"
    raise GroundTruthError(
        f"bag '{bag.path}' has the topics {listed} with detection arrays: choose one with --ground-truth-topic"
    )


def _has_bag_file(folder: Path) -> bool:
    return any(folder.glob("*.mcap*")) or any(folder.glob("*.db3*"))


def _reason(error: Exception) -> str:
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)
