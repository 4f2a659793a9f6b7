# SPDX-License-Identifier: Apache-2.0
"""Every command answers hostile files and arguments with one sentence and an exit code, whatever they hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile_files as hostile
import numpy as np
import paired_folders
import pytest
import torch
import yaml
from typer.testing import CliRunner

from fusion_mamba_ros import cli
from fusion_mamba_ros.bags.bag_reading import Bag
from fusion_mamba_ros.cli import app
from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata, save_checkpoint

LONG_NAME = "n" * 10_000


class Inputs:
    """Good and hostile inputs, written when a case asks for them."""

    def __init__(self, folder: Path, good_checkpoint: Path, good_bag: Path) -> None:
        self.folder, self.good, self.good_bag = folder, good_checkpoint, good_bag

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def image(self, name: str = "a.png") -> Path:
        paired_folders.write_image(self.folder / name, seed=3)
        return self.folder / name

    def dataset(self, labels: tuple[str, ...] = ("0 0.5 0.5 0.5 0.5",)) -> Path:
        return paired_folders.write_paired_yolo(self.folder / "data", {"train": ["a"], "val": ["b"]}, labels)

    def checkpoint(self, changes: dict[str, Any] | None = None, text: str | None = None) -> Path:
        return hostile.checkpoint(self.folder / "hostile.safetensors", changes, text=text)

    def text(self, name: str, content: str | bytes) -> Path:
        return hostile.text_file(self.folder / name, content)

    def bag(self, change: Callable[[dict[str, Any]], None] | str) -> Path:
        """Return a copy of the good bag with its metadata changed or replaced."""
        bag = self.folder / "bag"
        bag.mkdir()
        for file in self.good_bag.iterdir():
            (bag / file.name).write_bytes(file.read_bytes())
        path = bag / "metadata.yaml"
        if isinstance(change, str):
            path.write_text(change)
        else:
            document = yaml.safe_load(path.read_text())
            change(document["rosbag2_bagfile_information"])
            path.write_text(yaml.safe_dump(document))
        return bag


@pytest.fixture(scope="module")
def good_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    model = FusionMambaDetector(ModelConfig(classes=2, fusion="add"))
    save_checkpoint(path, model, CheckpointMetadata(("person", "car"), (96, 64)))
    return path


@pytest.fixture(scope="module")
def good_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bag = tmp_path_factory.mktemp("bags") / "good"
    arguments = ["make-bag", "--scene", "night", "--seconds", "0.2", "--out", str(bag), "--fps", "10"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    return bag


def predict(*arguments: object) -> Callable[[Inputs], list[object]]:
    return lambda inputs: [
        "predict",
        "--rgb",
        inputs.image(),
        "--checkpoint",
        inputs.good,
        "--out",
        inputs.out,
        *arguments,
    ]


def predict_with(changes: dict[str, Any] | None = None, text: str | None = None) -> Callable[[Inputs], list[object]]:
    return lambda inputs: [
        *("predict", "--rgb", inputs.image(), "--out", inputs.out),
        *("--checkpoint", inputs.checkpoint(changes, text)),
    ]


def predict_image(name: str, content: bytes) -> Callable[[Inputs], list[object]]:
    return lambda inputs: [
        *("predict", "--rgb", inputs.text(name, content), "--checkpoint", inputs.good, "--out", inputs.out)
    ]


def registration(content: str | bytes) -> Callable[[Inputs], list[object]]:
    return lambda inputs: [
        *predict("--registration", inputs.text("registration.yaml", content))(inputs),
    ]


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


def train(*arguments: object, recipe: str | bytes | None = None) -> Callable[[Inputs], list[object]]:
    def build(inputs: Inputs) -> list[object]:
        config = "nano" if recipe is None else inputs.text("recipe.yaml", recipe)
        return ["train", "--data", inputs.dataset(), "--out", inputs.out, "--config", config, *arguments]

    return build


def imported(
    pickled: bytes, storages: dict[str, bytes] | None = None, **options: Any
) -> Callable[[Inputs], list[object]]:
    return lambda inputs: [
        *("import-weights", hostile.torch_file(inputs.folder / "yolo.pt", pickled, storages, **options)),
        *("--out", inputs.folder / "start.safetensors"),
    ]


def compared(**changes: Any) -> Callable[[Inputs], list[object]]:
    def build(inputs: Inputs) -> list[object]:
        path = hostile.results(inputs.folder / "detections.npz", **changes)
        return ["compare", path, path]

    return build


def made(*arguments: object) -> Callable[[Inputs], list[object]]:
    return lambda inputs: [
        *("make-bag", "--scene", "night", "--seconds", "0.2", "--fps", "10", "--out", inputs.out, *arguments)
    ]


def registered(change: Callable[[dict[str, Any]], None] | str, *arguments: object) -> Callable[[Inputs], list[object]]:
    return lambda inputs: ["register", "--bag", inputs.bag(change), "--out", inputs.folder / "r.yaml", *arguments]


def published(metrics: str | bytes) -> Callable[[Inputs], list[object]]:
    return lambda inputs: [
        *("publish", inputs.good, "--metrics", inputs.text("metrics.json", metrics)),
        *("--out", inputs.folder / "p.safetensors"),
    ]


def _no_messages(information: dict[str, Any]) -> None:
    """Count messages on a topic that has none."""
    for entry in information["topics_with_message_count"]:
        if entry["topic_metadata"]["name"] == "/rgb/image_raw":
            entry["topic_metadata"]["name"] = "/gone"


def _count(number: Any) -> Callable[[dict[str, Any]], None]:
    def change(information: dict[str, Any]) -> None:
        information["message_count"] = number
        for entry in information["topics_with_message_count"]:
            entry["message_count"] = number

    return change


MODULE = b"cultralytics.nn.tasks\nDetectionModel\n)\x81"
ENDLESS_MODULE = b"\x80\x02" + MODULE + b"q\x00}X\x08\x00\x00\x00_modules}X\x01\x00\x00\x000h\x00ssb."
HUGE_NAMES = "[" + ", ".join(f'"c{n}"' for n in range(20_000)) + "]"

CASES: dict[str, Callable[[Inputs], list[object]]] = {
    # Checkpoints
    "dssf count of a billion": predict_with(hostile.with_model(fusion="fusion_mamba", dssf_count=10**9)),
    "dssf count at the limit without the tensors": predict_with(
        hostile.with_model(fusion="fusion_mamba", dssf_count=64, width="n")
    ),
    "dssf count is a text": predict_with(hostile.with_model(fusion="fusion_mamba", dssf_count="8")),
    "a billion classes": predict_with(hostile.with_model(classes=10**9)),
    "a billion states": predict_with(hostile.with_model(fusion="fusion_mamba", state_size=10**9)),
    "a billion bins": predict_with(hostile.with_model(reg_max=10**9)),
    "a billion channels": predict_with(hostile.with_model(modalities={"rgb": 10**9})),
    "a billion fusion channels": predict_with(hostile.with_model(fusion="fusion_mamba", fusion_channels=4 * 10**9)),
    "model is a list": predict_with({"model": [1]}),
    "levels are a mapping": predict_with(hostile.with_model(levels={"3": 1})),
    "backbone is a list": predict_with(hostile.with_model(backbone=["yolov8"])),
    "unknown model field with line ends": predict_with(hostile.with_model(**{"a\nerror: forged\x1b[31m": 1})),
    "input size is infinite": predict_with({"input_size": [float("inf"), 64]}),
    "input size is no number": predict_with({"input_size": [float("nan"), 64]}),
    "input size of a million": predict_with({"input_size": [10**6 * 32, 10**6 * 32]}),
    "input size of one side": predict_with({"input_size": [96]}),
    "input size is a number": predict_with({"input_size": 96}),
    "input size of texts": predict_with({"input_size": ["96", "64"]}),
    "class names are a text": predict_with({"class_names": "ab"}),
    "class names with control characters": predict_with({"class_names": ["car", "a\x1b[31m\nb"]}),
    "a class name of a million characters": predict_with({"class_names": ["car", "c" * 1_000_000]}),
    "20000 class names": predict_with(text=json.dumps(hostile.METADATA).replace('["person", "car"]', HUGE_NAMES)),
    "homography is infinite": predict_with({"homography": [[1e999, 0, 0], [0, 1, 0], [0, 0, 1]]}),
    "homography of lists": predict_with({"homography": [[[1], 0, 0], [0, 1, 0], [0, 0, 1]]}),
    "homography is singular": predict_with({"homography": [[0, 0, 0], [0, 0, 0], [0, 0, 0]]}),
    "thermal scaling is a list": predict_with({"thermal": [1]}),
    "thermal range is no number": predict_with({"thermal": {"range_min": float("nan")}}),
    "thermal method is a list": predict_with({"thermal": {"method": ["range"]}}),
    "metrics are a list": predict_with({"metrics": [1]}),
    "modes of the metrics are a list": predict_with({"metrics": {"modes": [1]}}),
    "training is a number": predict_with({"training": 1}),
    "format is a mapping": predict_with({"format": {"a": "b" * 10_000}}),
    "metadata nested 100000 deep": predict_with(text=hostile.nested(100_000)),
    "metadata nested 900 deep": predict_with(text='{"format": 1, "training": ' + hostile.nested(900) + "}"),
    "metadata of 5 MB": predict_with({"training": {"note": "x" * 5_000_000}}),
    "metadata with a number of 5000 digits": predict_with(text='{"format": ' + "9" * 5000 + "}"),
    "metadata is a number": predict_with(text="1"),
    "metadata is no JSON": predict_with(text="{"),
    "checkpoint header longer than the file": lambda inputs: [
        *predict()(inputs),
        *("--checkpoint", inputs.text("c.safetensors", b"\xff" * 7 + b"\x7f" + b"{}")),
    ],
    "checkpoint is a folder": lambda inputs: [*predict()(inputs), "--checkpoint", inputs.folder],
    "checkpoint name of 10 kB": predict("--checkpoint", LONG_NAME),
    # Images and videos
    "BMP of gigapixels": predict_image("x.png", hostile.bmp(30_000, 30_000)),
    "PNG that claims gigapixels": predict_image("x.png", hostile.png(60_000, 60_000, rows=1)),
    "PNG of 100 megapixels": predict_image("x.png", hostile.png(10_000, 10_000)),
    "16-bit PNG of 49 megapixels": predict_image("x.png", hostile.png(7_000, 7_000, bits=16, colour=6)),
    "PNG that lacks rows": predict_image("x.png", hostile.png(64, 64, rows=3)),
    "image is a text": predict_image("x.jpg", b"text"),
    "image name of 10 kB": lambda inputs: ["predict", "--rgb", LONG_NAME, "--checkpoint", inputs.good],
    "video is a text": predict_image("x.mp4", b"text"),
    "video whose name is not UTF-8": lambda inputs: [
        *("predict", "--rgb", hostile.text_file(hostile.not_utf8(inputs.folder, ".mp4"), b"text")),
        *("--checkpoint", inputs.good, "--out", inputs.out),
    ],
    # Arguments of predict
    "output name of 10 kB": predict("--out", LONG_NAME),
    "output in a file": lambda inputs: [*predict()(inputs), "--out", inputs.image("file.png") / "out"],
    "score threshold is no number": predict("--score-threshold", "nan"),
    "NMS threshold of 1e300": predict("--nms-threshold", "1e300"),
    "fewer than no detections": predict("--max-detections", "-1"),
    "a device that is not there": predict("--device", "cuda:99999999999999999999"),
    "an unknown device": predict("--device", "\x1b[31m"),
    "an unknown precision": predict("--precision", "fp1"),
    "an unknown class": predict("--classes", "\n"),
    "thermal range is infinite": predict("--thermal-scaling", "range", "--thermal-range", "inf", "nan"),
    "registration nested 100000 deep": lambda inputs: [
        *predict("--registration", inputs.text("r.yaml", hostile.nested(100_000, "{a: ", "}")))(inputs)
    ],
    "registration of aliases": lambda inputs: [
        *predict("--registration", inputs.text("r.yaml", hostile.alias_bomb()))(inputs)
    ],
    "registration that holds itself": lambda inputs: [
        *predict("--registration", inputs.text("r.yaml", "a: &a {b: *a}"))(inputs)
    ],
    "registration that is no text": lambda inputs: [
        *predict("--registration", inputs.text("r.yaml", b"\xff\xfe\x00"))(inputs)
    ],
    "registration of texts": lambda inputs: [
        *predict("--registration", inputs.text("r.yaml", "registration: {homography: [a, b]}"))(inputs)
    ],
    # Datasets
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
    # eval, compare, publish
    "eval of nothing usable": lambda inputs: [
        *("eval", "--checkpoint", inputs.good, "--data", inputs.dataset(("nonsense",)), "--out", inputs.out)
    ],
    "eval to 10 kB": lambda inputs: [
        *("eval", "--checkpoint", inputs.good, "--data", inputs.dataset(), "--out", LONG_NAME)
    ],
    "eval in an unknown mode": lambda inputs: [
        *("eval", "--checkpoint", inputs.good, "--data", inputs.dataset(), "--out", inputs.out, "--mode", "\x1b[31m")
    ],
    "detections that claim a terabyte": lambda inputs: [
        "compare",
        *[hostile.npz_of_huge_array(inputs.folder / "d.npz")] * 2,
    ],
    "detections are a text": lambda inputs: ["compare", *[inputs.text("d.npz", "x")] * 2],
    "detections are an array": lambda inputs: ["compare", *[inputs.text("d.npz", b"\x93NUMPY\x01\x00\x76\x00")] * 2],
    "detections without boxes": compared(boxes=None),
    "detections of texts": compared(boxes=np.array([["a"] * 4])),
    "detections that are no numbers": compared(boxes=np.full((1, 4), np.nan, np.float32)),
    "detections of negative counts": compared(counts=np.array([-1])),
    "detections of an unknown class": compared(labels=np.array([7])),
    "true boxes of an unknown class": compared(truth_labels=np.array([-3])),
    "detections of an unknown mode": compared(mode=np.array("x")),
    "detections of no image": compared(
        **{
            name: np.zeros((0, 4) if "boxes" in name else 0, int) for name in ("truth_counts", "truth_labels", "counts")
        },
        names=np.array([], str),
        groups=np.array([], str),
        truth_boxes=np.zeros((0, 4), np.float32),
        boxes=np.zeros((0, 4), np.float32),
        scores=np.zeros(0, np.float32),
        labels=np.zeros(0, int),
    ),
    "compare with a negative seed": lambda inputs: [*compared()(inputs), "--seed", "-1"],
    "compare of names of 10 kB": lambda inputs: ["compare", LONG_NAME, LONG_NAME],
    "metrics nested 100000 deep": published(hostile.nested(100_000)),
    "published metrics are a list": published("[]"),
    "metrics with modes that are a number": published('{"modes": 5}'),
    "metrics without numbers": published('{"modes": {"fused": {"mAP50": NaN}}}'),
    "metrics are no text": published(b"\xff\xfe\x00"),
    "publish to 10 kB": lambda inputs: [*published('{"modes": {}}')(inputs), "--out", LONG_NAME],
    # Weights of others
    "pickle that asks for 3 GB": imported(
        b"\x80\x02" + hostile.call("builtins", "bytearray", b"J\x00\x00\x00\x7f\x85") + b"."
    ),
    "pickle with a memo of 4 billion": imported(b"\x80\x02Nr\xff\xff\xff\x7f."),
    "pickle with an array of 3 GB": imported(b"\x80\x05\x96\x00\x00\x00\xc0\x00\x00\x00\x00."),
    "pickle with a text of 3 GB": imported(b"\x80\x04\x8d\x00\x00\x00\xc0\x00\x00\x00\x00."),
    "pickle of tuples nested a million deep": imported(b"\x80\x02}" + b")" + b"\x85" * 1_000_000 + b"Ns."),
    "pickle that ends early": imported(b"\x80\x02}q\x00("),
    "pickle of nothing": imported(b""),
    "pickle that runs code": imported(b"cos\nsystem\n(S'true'\ntR."),
    "pickle of a number": imported(b"\x80\x02K\x01."),
    "module that contains itself": imported(ENDLESS_MODULE),
    "zip bomb": imported(b"\x80\x02" + b"N0" * 2_000_000 + b"N.", squeezed=True),
    "tensor that is larger than its storage": imported(hostile.rebuilt_tensor((10**9,), (0,)), {"0": bytes(16)}),
    "tensor of a negative size": imported(hostile.rebuilt_tensor((-5,), (1,)), {"0": bytes(16)}),
    "tensor of 10^18 elements": imported(hostile.rebuilt_tensor((10**9, 10**9), (10**9, 1)), {"0": bytes(16)}),
    "weights that are no zip": lambda inputs: [
        "import-weights",
        inputs.text("y.pt", b"PK\x03\x04junk"),
        "--out",
        inputs.folder / "s.safetensors",
    ],
    "weights that are a folder": lambda inputs: ["import-weights", inputs.folder, "--out", inputs.folder / "s"],
    "weights of 10 kB": lambda inputs: ["import-weights", LONG_NAME, "--out", inputs.folder / "s"],
    # Bags
    "bag of topics without a message": registered(_no_messages),
    "bag that counts a billion messages": registered(_count(10**9), "--rgb-topic", "/nothing"),
    "bag that counts texts": registered(_count("x")),
    "bag of negative counts": registered(_count(-5)),
    "bag name of 10 kB": lambda inputs: ["register", "--bag", LONG_NAME],
    "bag offset of 1e300": registered(lambda information: None, "--thermal-offset", "1e300"),
    "bag offset is no number": registered(lambda information: None, "--thermal-offset", "nan"),
    "register of images without content": lambda inputs: [
        *("register", "--rgb", inputs.image(), "--thermal", inputs.text("t.png", hostile.png(64, 48))),
        *("--out", inputs.folder / "r.yaml"),
    ],
    "make-bag that starts at 1e300": made("--start", "1e300"),
    "make-bag that starts at 1e11": made("--start", "1e11"),
    "make-bag that starts at nan": made("--start", "nan"),
    "make-bag that starts before 1970": made("--start", "-1"),
    "make-bag at 1e-300 frames per second": made("--fps", "1e-300"),
    "make-bag at nan frames per second": made("--fps", "nan"),
    "make-bag with an offset of 1e300": made("--thermal-offset", "1e300"),
    "make-bag of infinite seconds": made("--seconds", "inf"),
    "make-bag with a negative seed": made("--seed", "-1"),
    "make-bag to 10 kB": made("--out", LONG_NAME),
    "make-bag of an empty folder": lambda inputs: [
        "make-bag",
        "--rgb",
        inputs.folder,
        "--thermal",
        inputs.folder,
        "--out",
        inputs.out,
    ],
    "make-bag of names of 10 kB": lambda inputs: [
        "make-bag",
        "--rgb",
        LONG_NAME,
        "--thermal",
        LONG_NAME,
        "--out",
        inputs.out,
    ],
    # Training
    "recipe nested 5000 deep": train(recipe=hostile.nested(5000)),
    "recipe of aliases": train(recipe=hostile.alias_bomb()),
    "recipe is a list": train(recipe="[1]"),
    "recipe with a date as field": train(recipe="2001-01-01: 5"),
    "recipe with a model that is a list": train(recipe="model: [1]"),
    "recipe with an augmentation that is a number": train(recipe="augmentation: 5"),
    "recipe with a canvas of a million": train(recipe="input_size: [32000000, 32000000]"),
    "recipe with a billion modules": train("--set", "model.dssf_count=1000000000"),
    "recipe with an infinite rate": train("--set", "learning_rate=.inf"),
    "recipe with a field in a field": train("--set", "epochs.a=1"),
    "setting nested 5000 deep": train("--set", "epochs=" + hostile.nested(5000)),
    "setting without a value": train("--set", "epochs"),
    "recipe name of 10 kB": lambda inputs: [
        "train",
        "--data",
        inputs.dataset(),
        "--out",
        inputs.out,
        "--config",
        LONG_NAME,
    ],
    "training to 10 kB": lambda inputs: ["train", "--data", inputs.dataset(), "--out", LONG_NAME, "--config", "nano"],
    "training from a hostile checkpoint": lambda inputs: [
        *train("--weights", inputs.checkpoint(hostile.with_model(fusion="fusion_mamba", dssf_count=10**9)))(inputs)
    ],
    "training goes on from a text": lambda inputs: [
        *("train", "--resume", "--data", inputs.dataset(), "--out", inputs.text("out/state.pt", "x").parent)
    ],
    "training goes on from a hostile pickle": lambda inputs: [
        *("train", "--resume", "--data", inputs.dataset()),
        *("--out", inputs.text("out/state.pt", b"\x80\x02Nr\xff\xff\xff\x7f.").parent),
    ],
}


@pytest.mark.parametrize("metadata", [hostile.nested(5000), "[]", ""], ids=["nested 5000 deep", "a list", "nothing"])
def test_a_bag_with_useless_metadata_is_read_without_it(metadata: str, tmp_path: Path, good_bag: Path) -> None:
    with Bag(good_bag) as intact, Bag(Inputs(tmp_path, good_bag, good_bag).bag(metadata)) as bag:
        assert bag.topics == intact.topics
        assert len(list(bag.messages())) == len(list(intact.messages()))
        assert any("is damaged" in warning.sentence for warning in bag.warnings)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("case", CASES)
def test_hostile_input_ends_in_one_sentence_and_an_exit_code(
    case: str, tmp_path: Path, good_checkpoint: Path, good_bag: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [str(argument) for argument in CASES[case](Inputs(tmp_path, good_checkpoint, good_bag))]
    result = CliRunner().invoke(app, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code in (1, 2), result.output
    said = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in result.output
    # With --strict the problems are listed on stdout instead.
    problems = result.exit_code == 1 and "problems:" in result.stdout
    assert len(said) == 1 or problems, result.stderr
    assert all(len(line) < 2500 for line in said) and "\x1b" not in result.stderr


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["checkpoint", "image", "coco", "detections", "bag", "weights", "recipe"])
def test_files_with_random_damage_end_in_a_result_or_one_sentence(
    kind: str, tmp_path: Path, good_checkpoint: Path, good_bag: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    inputs = Inputs(tmp_path, good_checkpoint, good_bag)
    seed = 11
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    victim, arguments = _victim(kind, inputs)
    good = victim.read_bytes()
    refused = 0
    for _ in range(8):
        data = bytearray(good)
        # Mostly near the start, where the headers are.
        reach = len(data) if rng.random() < 0.3 else min(len(data), 2000)
        for at in rng.integers(0, reach, rng.integers(1, 12)):
            data[at] = rng.integers(0, 256)
        victim.write_bytes(data[: rng.integers(1, len(data))] if rng.random() < 0.2 else data)
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        assert result.exit_code in (0, 1, 2) and "Traceback" not in result.output
        refused += result.exit_code != 0
    assert refused


def _victim(kind: str, inputs: Inputs) -> tuple[Path, list[object]]:
    """Return a good file and a command that reads it."""
    folder = inputs.folder
    if kind == "checkpoint":
        path = inputs.text("model.safetensors", inputs.good.read_bytes())
        return path, ["predict", "--rgb", inputs.image(), "--checkpoint", path, "--out", inputs.out]
    if kind == "image":
        return inputs.image("x.png"), predict("--rgb", folder / "x.png")(inputs)
    if kind == "coco":
        root = hostile.coco(folder / "coco", hostile.COCO)
        return root / "annotations" / "train.json", ["check-data", root]
    if kind == "detections":
        path = hostile.results(folder / "d.npz")
        return path, ["compare", path, path]
    if kind == "bag":
        bag = inputs.bag(lambda information: None)
        return next(bag.glob("*.mcap")), ["register", "--bag", bag, "--out", folder / "r.yaml", "--pairs", "1"]
    if kind == "weights":
        pickled = hostile.rebuilt_tensor((2, 2), (2, 1))
        path = hostile.torch_file(folder / "y.pt", pickled, {"0": bytes(16)})
        return path, ["import-weights", path, "--out", folder / "s.safetensors"]
    recipe = (Path(cli.__file__).parent / "training" / "recipes" / "nano.yaml").read_bytes()
    path = inputs.text("recipe.yaml", recipe)
    # The dataset has nothing usable, so that a recipe that is still good does not train.
    return path, ["train", "--data", inputs.dataset(("nonsense",)), "--out", inputs.out, "--config", path]
