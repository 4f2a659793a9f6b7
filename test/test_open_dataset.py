# SPDX-License-Identifier: Apache-2.0
"""Opening of datasets: splits, problems of pairs and labels, and class lists."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paired_folders import write_image, write_lines, write_pair, write_paired_yolo, write_voc

from fusion_mamba_ros.datasets import DatasetError, UnreadableImageError, open_dataset
from fusion_mamba_ros.datasets.joined_dataset import open_datasets
from fusion_mamba_ros.datasets.paired_dataset import PairedDataset
from fusion_mamba_ros.datasets.prepared_dataset import prepare
from fusion_mamba_ros.perception.letterbox import PADDING_LEVEL


def kinds(dataset: PairedDataset) -> Counter[str]:
    return Counter(problem.kind.value for problem in dataset.problems)


def test_empty_label_file_is_a_true_negative(tmp_path: Path) -> None:
    root = write_paired_yolo(tmp_path / "data", {"train": ["a"]}, labels=())
    dataset = open_dataset(root, "train")
    assert dataset[0].boxes.shape == (0, 4) and dataset.problems == ()


def test_missing_partner_or_label_is_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_paired_yolo(tmp_path / "data", {"train": ["a", "b", "c", "d"]})
    (root / "rgb" / "a.jpg").unlink()
    (root / "thermal" / "b.png").unlink()
    (root / "labels" / "c.txt").unlink()
    dataset = open_dataset(root, "train")
    assert dataset.names == ("data/d",)
    assert kinds(dataset) == {"unmatched": 3}
    details = {problem.name: problem.detail for problem in dataset.problems}
    assert "no RGB image" in details["data/a"]
    assert "no thermal image" in details["data/b"]
    assert "c.txt" in details["data/c"]
    assert "3 unmatched" in caplog.text and "check-data" in caplog.text


def test_truncated_image_is_left_out_with_a_count(tmp_path: Path) -> None:
    root = write_paired_yolo(tmp_path / "data", {"train": ["a", "b"]})
    path = root / "rgb" / "a.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    dataset = open_dataset(root, "train")
    assert dataset.names == ("data/b",) and kinds(dataset) == {"unreadable": 1}
    assert "a.jpg" in dataset.problems[0].detail


def test_problems_are_refused_if_asked(tmp_path: Path) -> None:
    root = write_paired_yolo(tmp_path / "data", {"train": ["a", "b"]})
    (root / "thermal" / "a.png").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"1 problems.*data/a"):
        open_dataset(root, "train", refuse_problems=True)


def test_image_that_only_decoding_finds_broken_is_named_when_read(tmp_path: Path) -> None:
    root = write_paired_yolo(tmp_path / "data", {"train": ["a"]})
    (root / "rgb" / "a.jpg").write_bytes(b"\xff\xd8 no jpeg at all \xff\xd9")
    with pytest.raises(UnreadableImageError, match=r"a.jpg"):
        open_dataset(root, "train")[0]


def test_name_twice_in_a_list_and_two_files_under_a_stem_are_duplicates(tmp_path: Path) -> None:
    root = write_paired_yolo(tmp_path / "data", {"train": ["a", "b"]})
    write_lines(root / "train.txt", ["a", "b", "a"])
    write_image(root / "rgb" / "b.png")
    dataset = open_dataset(root, "train")
    assert dataset.names == ("data/a",) and kinds(dataset) == {"duplicated": 2}


def test_class_number_out_of_range_is_dropped_and_named(tmp_path: Path) -> None:
    root = write_paired_yolo(tmp_path / "data", {"train": ["a"]}, ["7 0.5 0.5 0.1 0.1", "2 0.5 0.5 0.2 0.2"])
    sample, problems = open_dataset(root, "train").read(0)
    assert sample.labels.tolist() == [2]
    assert "class 7" in problems[0].detail and "person, bicycle, car" in problems[0].detail


def test_wrong_class_list_is_refused_rather_than_training_on_nothing(tmp_path: Path) -> None:
    root = write_paired_yolo(tmp_path / "data", {"train": ["a"]})
    with pytest.raises(DatasetError, match=r"no box of dataset 'data' has a class of the list boat"):
        open_dataset(root, "train", classes=["boat"])


@pytest.mark.parametrize("split", ["train", "val", "all"])
def test_pair_in_train_and_val_is_refused_by_name(tmp_path: Path, split: str) -> None:
    root = write_paired_yolo(tmp_path / "data", {"train": ["a", "b"], "val": ["b", "c"], "test": ["d"]})
    with pytest.raises(DatasetError, match=r"1 pairs are in more than one split: b \(train and val\)"):
        open_dataset(root, split)
    assert len(open_dataset(root, "test")) == 1


def test_overlap_can_be_asked_for(tmp_path: Path) -> None:
    write_paired_yolo(tmp_path / "data", {"train": ["a", "b"], "val": ["b"]})
    write_lines(tmp_path / "d.yaml", ["allow_overlap: true", "datasets: [data]"])
    assert len(open_dataset(tmp_path / "d.yaml", "train")) == 2
    assert len(open_dataset(tmp_path / "d.yaml", "all")) == 2


def test_same_folder_through_two_entries_cannot_mix_train_and_val(tmp_path: Path) -> None:
    write_paired_yolo(tmp_path / "data", {"train": ["a"], "val": ["b"]})
    write_lines(
        tmp_path / "d.yaml",
        ["datasets:", "- {path: data, name: one}", "- {path: data, name: two, splits: {train: val, val: train}}"],
    )
    with pytest.raises(DatasetError, match=r"more than one split"):
        open_dataset(tmp_path / "d.yaml", "train")


def make_train_and_test(root: Path) -> Path:
    for split, stem in (("train", "1"), ("test", "2")):
        write_pair(root / "visible" / split / f"{stem}.jpg", root / "infrared" / split / f"{stem}.jpg")
        write_voc(root / "Annotations" / f"{stem}.xml", [("person", (1, 1, 20, 20))])
    return root


def test_validating_on_test_is_refused_unless_asked_for(tmp_path: Path) -> None:
    root = make_train_and_test(tmp_path / "llvip")
    with pytest.raises(DatasetError, match=r"no usable pair in split 'val'.*it has train, test"):
        open_dataset(root, "val")
    assert open_dataset(root, "val", validate_on_test=True).names == ("llvip/2",)
    assert open_dataset(root, "test").names == ("llvip/2",)


def test_yaml_that_maps_val_onto_test_must_say_so(tmp_path: Path) -> None:
    make_train_and_test(tmp_path / "llvip")
    lines = ["datasets:", "- {path: llvip, splits: {val: test}}"]
    write_lines(tmp_path / "d.yaml", lines)
    with pytest.raises(DatasetError, match=r"validated on its test split.*validate_on_test: true"):
        open_dataset(tmp_path / "d.yaml", "val")
    write_lines(tmp_path / "d.yaml", ["validate_on_test: true", *lines])
    assert open_dataset(tmp_path / "d.yaml", "val").names == ("llvip/2",)


def test_yaml_joins_folders_and_scenes_under_one_class_list(tmp_path: Path) -> None:
    write_paired_yolo(tmp_path / "one", {"train": ["a"], "val": ["b"]}, ["2 0.5 0.5 0.5 0.5"])
    write_lines(tmp_path / "one" / "classes.txt", ["dog", "boat", "Automobile"])
    write_paired_yolo(tmp_path / "sub" / "two", {"train": ["a"]}, ["0 0.5 0.5 0.5 0.5"])
    write_lines(
        tmp_path / "d.yaml",
        [
            "classes: [person, car]",
            "datasets:",
            "- {path: one, rename: {automobile: car}}",
            "- sub/two",
            "- scene: {train: 3, val: 1, night: 1.0}",
        ],
    )
    train = open_dataset(tmp_path / "d.yaml", "train")
    assert train.class_names == ("person", "car")
    assert train.names[:2] == ("one/a", "two/a") and len(train) == 5
    assert train[0].labels.tolist() == [1] and train[1].labels.tolist() == [0]
    assert train[4].group == "night" and set(train[4].labels) <= {0, 1}
    assert len(open_dataset(tmp_path / "d.yaml", "val")) == 2


def test_scenes_are_the_same_each_time_and_differ_between_splits(tmp_path: Path) -> None:
    write_lines(tmp_path / "d.yaml", ["datasets:", "- scene: {train: 4, val: 4, seed: 3, night: 0.5}"])
    train, again, val = (open_dataset(tmp_path / "d.yaml", split) for split in ("train", "train", "val"))
    assert sorted(train.groups) == ["day", "day", "night", "night"]
    np.testing.assert_array_equal(train[0].images["rgb"], again[0].images["rgb"])
    assert not np.array_equal(train[0].images["rgb"], val[0].images["rgb"])
    records: tuple[Any, Any] = (train.records, val.records)
    assert not {record.seed for record in records[0]} & {record.seed for record in records[1]}


def test_different_classes_need_a_list(tmp_path: Path) -> None:
    write_paired_yolo(tmp_path / "one", {"train": ["a"]})
    write_paired_yolo(tmp_path / "two", {"train": ["a"]})
    write_lines(tmp_path / "two" / "classes.txt", ["person", "truck"])
    write_lines(tmp_path / "d.yaml", ["datasets: [one, two]"])
    with pytest.raises(DatasetError, match=r"different classes.*add 'classes'"):
        open_dataset(tmp_path / "d.yaml", "train")
    with pytest.raises(DatasetError, match=r"different classes"):
        open_datasets([tmp_path / "one", tmp_path / "two"], "train")
    assert len(open_datasets([tmp_path / "one", tmp_path / "two"], "train", classes=["person"])) == 2


@pytest.mark.parametrize(("second", "shared"), [(0.25, 0.25), (0.5, None), (None, None)])
def test_dataset_has_a_homography_if_all_its_pairs_share_it(
    tmp_path: Path, second: float | None, shared: float | None
) -> None:
    lines = ["datasets:"]
    for name, shift in (("one", 0.25), ("two", second)):
        write_paired_yolo(tmp_path / name, {"train": ["a", "b"]})
        matrix = "" if shift is None else f", homography: [1, 0, {shift}, 0, 1, 0, 0, 0, 1]"
        lines.append(f"- {{path: {name}{matrix}}}")
    write_lines(tmp_path / "d.yaml", lines)
    homographies = open_dataset(tmp_path / "d.yaml", "train").homographies
    assert (homographies["thermal"][0, 2] if homographies else None) == shared


def test_homography_of_a_yaml_entry_brings_thermal_to_rgb(tmp_path: Path) -> None:
    root = write_paired_yolo(tmp_path / "data", {"train": ["a"]})
    write_lines(tmp_path / "d.yaml", ["datasets:", "- {path: data, homography: [1, 0, 0.25, 0, 1, 0, 0, 0, 1]}"])
    plain, moved = (prepare(open_dataset(path, "train")[0]).images["thermal"] for path in (root, tmp_path / "d.yaml"))
    # A quarter of 64 pixels to the right; what the thermal camera does not see is padding.
    np.testing.assert_array_equal(moved[:, 16:], plain[:, :-16])
    assert (moved[:, :16] == PADDING_LEVEL).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("datasets: []", "expected a list 'datasets'"),
        ("dataset: [data]", "expected a list 'datasets'"),
        ("datasets: [data, data]", "not unique"),
        ("datasets: [{path: data, formatt: coco}]", "entry"),
        ("datasets: [{path: data, format: voc}]", "format is 'voc'"),
        ("datasets: [{path: data, format: m3fd}]", "no form that is known"),
        ("datasets: [{path: data, splits: {train: holdout}}]", "no split 'holdout'"),
        ("datasets: [{path: data, homography: [1, 2]}]", "homography"),
        ("datasets:\n- ${NO_SUCH_VARIABLE}/data", "NO_SUCH_VARIABLE is not set"),
        ("datasets: [{scene: {train: -1}}]", "scene counts"),
        ("datasets: [{scene: {pairs: 3}}]", "scene is"),
        ("datasets: [{scene: {train: true}}]", "scene counts"),
        ("datasets: [{scene: {train: 1, night: half}}]", "scene night is 'half'"),
        ("datasets: [{path: data, rename: {0: person}}]", "rename has 0: it maps names of classes"),
        ("datasets: [{path: data, rename: {car: 2}}]", "rename has 2: it maps names of classes"),
        ("datasets: [nowhere]", "does not exist"),
        ("{", "cannot be read as YAML"),
        ("validate_on_test: 3\ndatasets: [data]", "validate_on_test is 3"),
        ("classes: person\ndatasets: [data]", "classes are 'person'"),
    ],
)
def test_bad_yaml_is_refused_with_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    write_paired_yolo(tmp_path / "data", {"train": ["a"]})
    (tmp_path / "d.yaml").write_text(text)
    with pytest.raises(DatasetError, match=message.replace("[", r"\[").replace("{", r"\{")):
        open_dataset(tmp_path / "d.yaml", "train")


@pytest.mark.parametrize(("path", "split"), [("nowhere", "train"), (".", "holdout")])
def test_missing_path_and_unknown_split_are_refused(tmp_path: Path, path: str, split: str) -> None:
    with pytest.raises(DatasetError, match=r"nowhere|holdout"):
        open_dataset(tmp_path / path, split)


@pytest.mark.skipif("FUSION_MAMBA_DATA" not in os.environ, reason="needs FUSION_MAMBA_DATA")
@pytest.mark.parametrize(
    ("name", "split", "pairs", "boxes"),
    [
        ("msrs", "train", 288, {"person": 975, "bicycle": 203, "car": 398}),
        ("msrs", "val", 73, {"person": 272, "bicycle": 86, "car": 86}),
        ("roadscene", "train", 124, {"person": 226, "bicycle": 28, "car": 480}),
        ("roadscene", "val", 16, {"person": 67, "bicycle": 5, "car": 42}),
    ],
)
def test_real_sets_have_the_counts_of_their_readme(name: str, split: str, pairs: int, boxes: dict[str, int]) -> None:
    dataset = open_dataset(Path(os.environ["FUSION_MAMBA_DATA"]) / name, split)
    labels = np.concatenate([dataset[index].labels for index in range(len(dataset))])
    counts = np.bincount(labels, minlength=3)
    assert len(dataset) == pairs and dataset.problems == ()
    assert dict(zip(dataset.class_names, counts.tolist(), strict=True)) == boxes


def test_val_list_holds_pairs_out_of_a_folder_with_train_and_test(tmp_path: Path) -> None:
    root = make_train_and_test(tmp_path / "llvip")
    for stem in ("3", "4"):
        write_pair(root / "visible" / "train" / f"{stem}.jpg", root / "infrared" / "train" / f"{stem}.jpg")
        write_voc(root / "Annotations" / f"{stem}.xml", [("person", (1, 1, 20, 20))])
    # As lists of other tools have it: paths.
    write_lines(root / "val.txt", ["visible/train/3.jpg"])
    assert open_dataset(root, "val").names == ("llvip/3",)
    assert open_dataset(root, "train").names == ("llvip/1", "llvip/4")
    assert open_dataset(root, "test").names == ("llvip/2",)
    write_lines(root / "train.txt", ["4"])
    assert open_dataset(root, "train").names == ("llvip/4",)
    write_lines(root / "train.txt", ["3", "4"])
    with pytest.raises(DatasetError, match=r"1 pairs are in more than one split: 3 \(train and val\)"):
        open_dataset(root, "val")


def test_val_list_finds_yolo_labels_in_the_folder_of_the_pair(tmp_path: Path) -> None:
    root = tmp_path / "flir"
    for stem, cls in (("1", 0), ("2", 1)):
        write_pair(root / "visible" / "train" / f"{stem}.jpg", root / "infrared" / "train" / f"{stem}.jpg")
        write_lines(root / "labels" / "train" / f"{stem}.txt", [f"{cls} 0.5 0.5 0.5 0.5"])
    write_lines(root / "classes.txt", ["person", "car"])
    write_lines(root / "val.txt", ["2", "9"])
    val = open_dataset(root, "val")
    assert val.names == ("flir/2",) and val[0].labels.tolist() == [1]
    # A name without files is reported, not lost.
    assert [problem.name for problem in val.problems] == ["flir/9"]


def test_missing_val_split_names_its_remedies(tmp_path: Path) -> None:
    root = make_train_and_test(tmp_path / "llvip")
    with pytest.raises(DatasetError, match=r"list its pairs in val.txt, or .* 'train --val-fraction 0.1'"):
        open_dataset(root, "val")
