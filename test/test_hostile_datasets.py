# SPDX-License-Identifier: Apache-2.0
"""Hostile datasets of every layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import hostile_files as hostile
import paired_folders
import pytest
from hostile_inputs import LONG_NAME, Inputs, assert_refused


def check(content: str | bytes) -> Callable[[Inputs], list[object]]:
    return lambda inputs: ["check-data", inputs.text("data.yaml", content)]


def coco(**changes: Any) -> Callable[[Inputs], list[object]]:
    return lambda inputs: ["check-data", "--strict", hostile.coco(inputs.folder / "coco", {**hostile.COCO, **changes})]


def coco_text(text: str) -> Callable[[Inputs], list[object]]:
    return lambda inputs: ["check-data", hostile.coco(inputs.folder / "coco", text)]


def voc(inputs: Inputs, labels: bytes) -> list[object]:
    root = inputs.folder / "m3fd"
    paired_folders.write_pair(root / "Vis" / "a.png", root / "Ir" / "a.png")
    hostile.text_file(root / "Annotation" / "a.xml", labels)
    return ["check-data", "--strict", root]


CASES: dict[str, Callable[[Inputs], list[object]]] = {
    "dataset YAML nested 5000 deep": check(hostile.nested(5000)),
    "dataset YAML of aliases": check(hostile.alias_bomb()),
    "dataset YAML with a date that is none": check("datasets: [2001-99-99]"),
    "dataset YAML with an empty whole number": check('datasets: [!!int ""]'),
    "dataset YAML with a timestamp tag": check("datasets: [!!timestamp x]"),
    "dataset YAML with an object": check("!!python/object/apply:os.system ['true']"),
    "dataset YAML of 2 MB": check("# " + "x" * 2_000_000),
    "dataset YAML with a scene that is a list": check("datasets: [{scene: [1]}]"),
    "dataset YAML with a mixed key": check("datasets: [a]\n1: 2\n? [x]\n: y"),
    "dataset YAML with a path of 10 kB": check(f"datasets: [{LONG_NAME}]"),
    "dataset YAML with a path with a zero": check('datasets: ["a\\0b"]'),
    "dataset YAML with splits that are no texts": lambda inputs: [
        *("check-data", "--split", "val"),
        inputs.text("d.yaml", json.dumps({"datasets": [{"path": str(inputs.dataset()), "splits": {"val": [1]}}]})),
    ],
    "dataset YAML with a class list of mappings": lambda inputs: [
        "check-data",
        inputs.text("d.yaml", json.dumps({"classes": [{"a": 1}], "datasets": [str(inputs.dataset())]})),
    ],
    "dataset name of 10 kB": lambda inputs: ["check-data", LONG_NAME],
    "output of check-data of 10 kB": lambda inputs: ["check-data", inputs.dataset(), "--out", LONG_NAME],
    "COCO nested 100000 deep": coco_text(hostile.nested(100_000)),
    "COCO is a list": coco_text("[]"),
    "COCO of lists as image ids": coco(images=[{**hostile.COCO["images"][0], "id": [1]}]),
    "COCO of mappings as category ids": coco(categories=[{"id": {}, "name": "car"}]),
    "COCO annotation of a list as category": coco(
        annotations=[{"image_id": 1, "category_id": [], "bbox": [1, 1, 2, 2]}]
    ),
    "COCO annotation of a list as image": coco(annotations=[{"image_id": {}, "category_id": 1, "bbox": [1, 1, 2, 2]}]),
    "COCO of mixed category ids and a bad box": coco(
        categories=[{"id": 1, "name": "car"}, {"id": "x", "name": "bus"}],
        annotations=[{"image_id": 1, "category_id": "x", "bbox": "no box"}],
    ),
    "COCO without categories": coco(categories=[]),
    "COCO with categories that are no list": coco(categories=5),
    "COCO with a box of 1e400": coco(annotations=[{"image_id": 1, "category_id": 1, "bbox": [float("inf")] * 4}]),
    "COCO with a box of 400 digits": coco(annotations=[{"image_id": 1, "category_id": 1, "bbox": [10**400] * 4}]),
    "COCO with a box of mappings": coco(annotations=[{"image_id": 1, "category_id": 1, "bbox": [{}] * 4}]),
    "COCO with a file name of 10 kB": coco(images=[{"id": 1, "file_name": LONG_NAME, "thermal_file_name": "b.png"}]),
    "COCO with a file name with a zero": coco(images=[{"id": 1, "file_name": "a\0", "thermal_file_name": "b.png"}]),
    "COCO with a file name that is a folder": coco(images=[{"id": 1, "file_name": ".", "thermal_file_name": "b.png"}]),
    "COCO with names twice": coco(categories=[{"id": 1, "name": "car"}, {"id": 2, "name": "car"}]),
    "YOLO labels of 400 digits": lambda inputs: ["check-data", "--strict", inputs.dataset(("9" * 400 + " 1 1 1 1",))],
    "YOLO labels of 5000 digits": lambda inputs: ["check-data", "--strict", inputs.dataset(("9" * 5000 + " 1 1 1 1",))],
    "YOLO labels without numbers": lambda inputs: ["check-data", "--strict", inputs.dataset(("0 nan inf 1e999 -1",))],
    "VOC labels in an encoding that does not exist": lambda inputs: voc(
        inputs, b'<?xml version="1.0" encoding="x"?><a/>'
    ),
    "VOC labels in UTF-7": lambda inputs: voc(inputs, b'<?xml version="1.0" encoding="utf-7"?><a/>'),
    "VOC labels of entities": lambda inputs: voc(inputs, hostile.entity_bomb()),
    "VOC labels nested 100000 deep": lambda inputs: voc(inputs, b"<object>" * 100_000 + b"</object>" * 100_000),
    "VOC labels without numbers": lambda inputs: voc(
        inputs,
        b"<a><object><name>car</name><bndbox><xmin>inf</xmin><ymin>nan</ymin><xmax>1e999</xmax><ymax>1</ymax></bndbox>"
        b"</object></a>",
    ),
    "list of names of 10 kB": lambda inputs: [
        "check-data",
        "--strict",
        hostile.text_file(inputs.dataset() / "train.txt", LONG_NAME).parent,
    ],
    "list of names that is no text": lambda inputs: [
        "check-data",
        "--strict",
        hostile.text_file(inputs.dataset() / "train.txt", b"\xff\xfe\x00").parent,
    ],
    "list of names with a zero": lambda inputs: [
        "check-data",
        "--strict",
        hostile.text_file(inputs.dataset() / "train.txt", b"a\0b").parent,
    ],
    "class list with a name twice": lambda inputs: [
        "check-data",
        hostile.text_file(inputs.dataset() / "classes.txt", "car\ncar\n").parent,
    ],
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("case", CASES)
def test_hostile_input_ends_in_one_sentence_and_an_exit_code(case: str, inputs: Inputs) -> None:
    assert_refused(CASES[case](inputs))
