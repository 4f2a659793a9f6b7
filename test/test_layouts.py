# SPDX-License-Identifier: Apache-2.0
"""Every public layout, as its authors publish it, gives the same samples."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paired_folders import HEIGHT, WIDTH, write_image, write_lines, write_pair, write_paired_yolo, write_voc

from fusion_mamba_ros.datasets import DatasetError, open_dataset
from fusion_mamba_ros.datasets.check_dataset import check_dataset
from fusion_mamba_ros.datasets.layouts import LAYOUTS, find_layout
from fusion_mamba_ros.datasets.open_dataset import unlisted_problems

BOX = (16.0, 12.0, 48.0, 36.0)
YOLO = "0.5 0.5 0.5 0.5"


def llvip(root: Path) -> tuple[str, str, set[str], str]:
    for split, stems in (("train", ("010001", "010002")), ("test", ("190001",))):
        for stem in stems:
            write_pair(root / "visible" / split / f"{stem}.jpg", root / "infrared" / split / f"{stem}.jpg")
            write_voc(root / "Annotations" / f"{stem}.xml", [("person", BOX)])
    return "split_folders", "train", {"010001", "010002"}, "person"


def m3fd(root: Path) -> tuple[str, str, set[str], str]:
    for stem in ("00000", "00001", "00002"):
        write_pair(root / "Vis" / f"{stem}.png", root / "Ir" / f"{stem}.png")
        write_voc(root / "Annotation" / f"{stem}.xml", [("People", BOX)])
    write_lines(root / "meta" / "train.txt", ["00000.png", "00002.png"])
    write_lines(root / "meta" / "val.txt", ["00001.png"])
    return "m3fd", "train", {"00000", "00002"}, "People"


def flir_voc(root: Path) -> tuple[str, str, set[str], str]:
    for stem in ("FLIR_00002", "FLIR_08865"):
        write_pair(root / "JPEGImages" / f"{stem}_RGB.jpg", root / "JPEGImages" / f"{stem}_PreviewData.jpeg")
        write_voc(root / "Annotations" / f"{stem}_PreviewData.xml", [("person", BOX), ("dog", (1, 1, 9, 9))])
    write_lines(root / "align_train.txt", ["FLIR_00002_PreviewData"])
    write_lines(root / "align_validation.txt", ["FLIR_08865_PreviewData"])
    return "flir_aligned", "val", {"FLIR_08865"}, "person"


def flir_yolo(root: Path) -> tuple[str, str, set[str], str]:
    for split, stem in (("train", "FLIR_00002"), ("test", "FLIR_08865")):
        write_pair(
            root / "images" / "visible" / split / f"{stem}.jpg", root / "images" / "infrared" / split / f"{stem}.jpeg"
        )
        for name in ("visible", "infrared"):
            write_lines(root / "labels" / name / split / f"{stem}.txt", [f"1 {YOLO}"])
    write_lines(root / "classes.txt", ["car", "person", "bicycle"])
    return "split_folders", "train", {"FLIR_00002"}, "person"


def paired_yolo(root: Path) -> tuple[str, str, set[str], str]:
    write_paired_yolo(root, {"train": ["a", "b"], "val": ["c"]}, [f"0 {YOLO}"])
    return "paired_yolo", "train", {"a", "b"}, "person"


def coco(root: Path) -> tuple[str, str, set[str], str]:
    images, annotations = [], []
    for index, stem in enumerate(("x", "y")):
        # Listed in another order than on disk, and under file names that sort differently.
        write_pair(root / "vis" / f"{stem}.jpg", root / "ir" / f"{9 - index}_{stem}.png", seed=index)
        images.append(
            {"id": 70 + index, "file_name": f"vis/{stem}.jpg", "thermal_file_name": f"ir/{9 - index}_{stem}.png"}
        )
        annotations.append({"id": index, "image_id": 70 + index, "category_id": 18, "bbox": [16, 12, 32, 24]})
    annotations.append({"id": 9, "image_id": 70, "category_id": 18, "bbox": [0, 0, 64, 48], "iscrowd": 1})
    document = {"images": images[::-1], "annotations": annotations, "categories": [{"id": 18, "name": "person"}]}
    write_lines(root / "annotations" / "train.json", [json.dumps(document)])
    return "coco", "train", {"vis/x", "vis/y"}, "person"


@pytest.mark.parametrize("make", [llvip, m3fd, flir_voc, flir_yolo, paired_yolo, coco])
def test_layout_is_recognised_and_gives_boxes_in_pixels(tmp_path: Path, make: Callable[..., Any]) -> None:
    root = tmp_path / "data"
    layout_name, split, stems, class_name = make(root)
    assert isinstance(find_layout(root), LAYOUTS[layout_name])
    dataset = open_dataset(root, split)
    assert set(dataset.names) == {f"data/{stem}" for stem in stems}
    sample = dataset[0]
    assert sample.images["rgb"].shape == (HEIGHT, WIDTH, 3) and sample.images["thermal"].shape == (HEIGHT, WIDTH)
    np.testing.assert_allclose(sample.boxes, [BOX], atol=1e-4)
    assert [dataset.class_names[label] for label in sample.labels] == [class_name]


@pytest.mark.parametrize(("group", "expected"), [("night", "night"), (0, "0"), (None, "")])
def test_group_of_a_coco_image_may_be_null(tmp_path: Path, group: str | int | None, expected: str) -> None:
    write_pair(tmp_path / "vis" / "a.jpg", tmp_path / "ir" / "a.png")
    image = {"id": 1, "file_name": "vis/a.jpg", "thermal_file_name": "ir/a.png", "group": group}
    document = {"images": [image], "annotations": [], "categories": [{"id": 1, "name": "person"}]}
    write_lines(tmp_path / "annotations" / "train.json", [json.dumps(document)])
    assert open_dataset(tmp_path, "train").groups == (expected,)


@pytest.mark.parametrize(("lacking", "folder"), [("rgb", "thermal"), ("thermal", "rgb")])
def test_folder_may_lack_a_modality_as_a_whole(tmp_path: Path, lacking: str, folder: str) -> None:
    paired_yolo(tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / lacking)
    dataset = open_dataset(tmp_path / "data", "train", refuse_problems=True)
    assert dataset.modalities == (folder,) and len(dataset) == 2
    sample = dataset[0]
    assert list(sample.images) == [folder] and sample.size == (WIDTH, HEIGHT)
    np.testing.assert_allclose(sample.boxes, [BOX], atol=1e-4)


@pytest.mark.parametrize(("lacking", "left"), [("visible", "thermal"), ("infrared", "rgb")])
def test_split_folders_may_lack_a_modality_as_a_whole(tmp_path: Path, lacking: str, left: str) -> None:
    llvip(tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / lacking)
    assert open_dataset(tmp_path / "data", "train", refuse_problems=True).modalities == (left,)


@pytest.mark.parametrize(("lacking", "left"), [("Vis", "thermal"), ("Ir", "rgb")])
def test_m3fd_may_lack_a_modality_as_a_whole(tmp_path: Path, lacking: str, left: str) -> None:
    root = tmp_path / "data"
    m3fd(root)
    shutil.rmtree(root / lacking)
    assert_only(root, left)
    shutil.rmtree(root / "meta")
    assert len(open_dataset(root, "all", refuse_problems=True)) == 3


@pytest.mark.parametrize(("lacking", "left"), [("RGB", "thermal"), ("PreviewData", "rgb")])
def test_flir_aligned_may_lack_a_modality_as_a_whole(tmp_path: Path, lacking: str, left: str) -> None:
    root = tmp_path / "data"
    flir_voc(root)
    for path in (root / "JPEGImages").glob(f"*_{lacking}.*"):
        path.unlink()
    assert_only(root, left)


def test_flir_aligned_without_any_image_says_that_they_are_missing(tmp_path: Path) -> None:
    root = tmp_path / "data"
    flir_voc(root)
    for path in (root / "JPEGImages").iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match="no RGB image"):
        open_dataset(root, "train")


def assert_only(root: Path, modality: str) -> None:
    """Assert that a dataset of one modality is read without a problem, with the boxes of its labels."""
    dataset = open_dataset(root, "train", refuse_problems=True)
    assert dataset.modalities == (modality,)
    assert list(dataset[0].images) == [modality]
    np.testing.assert_allclose(dataset[0].boxes, [BOX], atol=1e-4)
    assert check_dataset(dataset).modalities == {modality: len(dataset)}
    assert not unlisted_problems(root)


def test_coco_of_one_file_name_is_rgb_alone(tmp_path: Path) -> None:
    coco(tmp_path / "data")
    path = tmp_path / "data" / "annotations" / "train.json"
    document = json.loads(path.read_text())
    for image in document["images"]:
        del image["thermal_file_name"]
    path.write_text(json.dumps(document))
    dataset = open_dataset(tmp_path / "data", "train", refuse_problems=True)
    assert dataset.modalities == ("rgb",) and len(dataset) == 2


def test_a_pair_that_lacks_a_modality_of_its_folder_is_still_left_out(tmp_path: Path) -> None:
    paired_yolo(tmp_path / "data")
    next((tmp_path / "data" / "thermal").glob("a.*")).unlink()
    dataset = open_dataset(tmp_path / "data", "train")
    assert dataset.names == ("data/b",) and "no thermal image" in dataset.problems[0].detail


def test_coco_pairs_go_by_the_entry_not_by_the_order_of_files(tmp_path: Path) -> None:
    coco(tmp_path / "data")
    record: Any
    for record in open_dataset(tmp_path / "data", "train").records:
        assert record.images["thermal"].stem.endswith(record.images["rgb"].stem)


def test_pairs_go_by_stem_when_the_folders_sort_differently(tmp_path: Path) -> None:
    root = write_paired_yolo(tmp_path / "data", {"train": ["b", "c", "d"]})
    (root / "thermal" / "b.png").unlink()
    write_image(root / "thermal" / "a.png", channels=1)
    dataset = open_dataset(root, "train")
    records: Any = dataset.records
    assert [(record.images["rgb"].stem, record.images["thermal"].stem) for record in records] == [
        ("c", "c"),
        ("d", "d"),
    ]


def test_flir_dog_boxes_are_dropped_by_the_class_list_and_counted(tmp_path: Path) -> None:
    flir_voc(tmp_path / "data")
    sample, problems = open_dataset(tmp_path / "data", "train").read(0)
    assert len(sample.labels) == 1
    assert [problem.kind.value for problem in problems] == ["unknown class"] and "dog" in problems[0].detail


def test_m3fd_without_lists_asks_for_them(tmp_path: Path) -> None:
    m3fd(tmp_path / "data")
    for path in (tmp_path / "data" / "meta").iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match=r"no usable pair in split 'train'.*it has all"):
        open_dataset(tmp_path / "data", "train")
    assert len(open_dataset(tmp_path / "data", "all")) == 3


def test_yolo_labels_in_split_folders_need_class_names(tmp_path: Path) -> None:
    flir_yolo(tmp_path / "data")
    (tmp_path / "data" / "classes.txt").unlink()
    with pytest.raises(DatasetError, match=r"classes.txt"):
        open_dataset(tmp_path / "data", "train")


def test_folder_of_no_known_form_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no form that is known.*rgb/, thermal/"):
        open_dataset(tmp_path, "train")


@pytest.mark.parametrize("text", ["0 0.5 0.5 0.5", "0 0.5 0.5 0.5 x", "person 0.5 0.5 0.5 0.5", "0 1 2 3 4 5"])
def test_malformed_label_line_leaves_the_pair_out_and_names_the_line(tmp_path: Path, text: str) -> None:
    root = write_paired_yolo(tmp_path / "data", {"train": ["a", "b"]})
    write_lines(root / "labels" / "a.txt", ["0 0.5 0.5 0.1 0.1", text])
    dataset = open_dataset(root, "train")
    assert dataset.names == ("data/b",)
    assert "line 2" in dataset.problems[0].detail and dataset.problems[0].name == "data/a"


@pytest.mark.parametrize(
    "text", ["<annotation><object>", "<annotation><object><name>person</name></object></annotation>"]
)
def test_broken_xml_leaves_the_pair_out(tmp_path: Path, text: str) -> None:
    llvip(tmp_path / "data")
    write_lines(tmp_path / "data" / "Annotations" / "010001.xml", [text])
    dataset = open_dataset(tmp_path / "data", "train")
    assert dataset.names == ("data/010002",)
    assert dataset.problems[0].kind.value == "unreadable" and "010001.xml" in dataset.problems[0].detail


@pytest.mark.parametrize(
    "document", ["{}", "[]", "not json", '{"images": [{"id": 1}], "annotations": [], "categories": []}']
)
def test_json_that_is_no_coco_is_refused_by_name(tmp_path: Path, document: str) -> None:
    write_lines(tmp_path / "annotations" / "train.json", [document])
    with pytest.raises(DatasetError, match=r"train\.json' is not a COCO json"):
        open_dataset(tmp_path, "train")


def test_groups_come_from_lists_and_from_msrs_names(tmp_path: Path) -> None:
    root = write_paired_yolo(tmp_path / "data", {"val": ["00001D", "00002N", "x", "y"]})
    write_lines(root / "groups" / "rain.txt", ["x"])
    assert open_dataset(root, "val").groups == ("day", "night", "rain", "")


def test_pair_in_two_groups_is_refused(tmp_path: Path) -> None:
    root = write_paired_yolo(tmp_path / "data", {"val": ["x"]})
    write_lines(root / "groups" / "rain.txt", ["x"])
    write_lines(root / "groups" / "snow.txt", ["x"])
    with pytest.raises(DatasetError, match=r"'x' is in two groups"):
        open_dataset(root, "val")
