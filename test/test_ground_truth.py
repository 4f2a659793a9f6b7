# SPDX-License-Identifier: Apache-2.0
"""Ground truth of bags: sources, assignment to frames and errors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_bags import BOX, FAR_BOX, boxes, rgb, stamp, write_bag

from fusion_mamba_ros.bags.bag_reading import Bag, BagError
from fusion_mamba_ros.evaluation.bag_evaluation.ground_truth import GroundTruthError, assign_ground_truth
from fusion_mamba_ros.evaluation.bag_evaluation.ground_truth_sources import (
    read_coco,
    read_ground_truth,
    read_yolo_folder,
)


def brute_force(truth: Sequence[int], frames: Sequence[int], tolerance: int) -> list[int]:
    """Take the closest pair of all that are left, again and again."""
    result = [-1] * len(frames)
    while True:
        free = [
            (abs(t - f), i, j)
            for i, f in enumerate(frames)
            for j, t in enumerate(truth)
            if result[i] < 0 and j not in result and abs(t - f) <= tolerance
        ]
        if not free:
            return result
        _, i, j = min(free)
        result[i] = j


@pytest.mark.parametrize("seed", range(5))
def test_the_closest_frame_and_ground_truth_are_assigned_first(seed: int) -> None:
    print("seed", seed)
    rng = np.random.default_rng(seed)
    truth = np.unique(rng.integers(0, 300, 30))
    frames = rng.integers(0, 300, 40)
    found = assign_ground_truth(truth, frames.tolist(), 12)
    assert found.tolist() == brute_force(truth.tolist(), frames.tolist(), 12)


def test_the_tolerance_is_inclusive_and_no_ground_truth_is_used_twice() -> None:
    truth = np.array([100, 200], np.int64)
    assert assign_ground_truth(truth, [90, 110, 189, 210], 10).tolist() == [0, -1, -1, 1]
    assert assign_ground_truth(truth, [], 10).tolist() == []
    assert assign_ground_truth(np.zeros(0, np.int64), [1], 10).tolist() == [-1]


def test_of_equally_close_frames_the_one_with_the_lower_priority_is_assigned() -> None:
    assert assign_ground_truth(np.array([100]), [100, 100], 10, priority=[2, 0]).tolist() == [-1, 0]


def test_coco_images_are_keyed_by_stamp_or_by_file_name(tmp_path: Path) -> None:
    document = {
        "categories": [{"id": 7, "name": "car"}],
        "images": [
            {"id": 1, "stamp_ns": 5_000_000_001},
            {"id": 2, "file_name": "a/1700000000033333333.jpg"},
            {"id": 3, "file_name": "1700000000.5.png"},
        ],
        "annotations": [
            {"image_id": 2, "category_id": 7, "bbox": [1, 2, 3, 4]},
            {"image_id": 3, "category_id": 7, "bbox": [1, 2, 3, 4], "iscrowd": 1},
        ],
    }
    (tmp_path / "gt.json").write_text(json.dumps(document))
    truth = read_coco(tmp_path / "gt.json")
    assert truth.stamps.tolist() == [5_000_000_001, 1_700_000_000_033_333_333, 1_700_000_000_500_000_000]
    assert [len(array) for array in truth.boxes] == [0, 1, 0]
    assert truth.boxes[1].tolist() == [[1, 2, 4, 6]]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"images": [{"id": 1, "file_name": "frame_0001.jpg"}]}, "'frame_0001.jpg' is no stamp"),
        ({"images": [{"id": 1, "stamp_ns": 1.5}]}, "stamp_ns 1.5: expected a whole number"),
        ({"images": [{"id": 1}]}, "it lacks 'file_name'"),
        ({"annotations": [{"image_id": 9, "category_id": 1, "bbox": [0, 0, 1, 1]}]}, "image 9, which it does not list"),
        ({"annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1]}]}, "cannot be used"),
        ({"categories": 5}, "cannot be used"),
        ({"images": []}, "has no frame"),
    ],
)
def test_a_wrong_coco_file_is_one_sentence(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    document = {"categories": [{"id": 1, "name": "car"}], "images": [{"id": 1, "stamp_ns": 5}], "annotations": []}
    (tmp_path / "gt.json").write_text(json.dumps(document | change))
    with pytest.raises(GroundTruthError, match=sentence):
        read_coco(tmp_path / "gt.json")


def test_yolo_labels_are_scaled_by_the_size_of_the_image(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("person\ncar\n")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "1700000000100000000.txt").write_text("1 0.5 0.5 0.5 0.25\n")
    (tmp_path / "labels" / "1700000000.2.txt").write_text("")
    truth = read_yolo_folder(tmp_path)
    assert truth.stamps.tolist() == [stamp(1), stamp(2)]
    assert truth.in_pixels((40, 32)).boxes[0].tolist() == [[10, 12, 30, 20]]
    with pytest.raises(GroundTruthError, match="no RGB image of the bag tells its size"):
        truth.in_pixels(None)


def test_a_yolo_folder_without_class_names_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "1.txt").write_text("0 0.5 0.5 0.5 0.25\n")
    with pytest.raises(GroundTruthError, match=r"add classes\.txt"):
        read_yolo_folder(tmp_path)


def test_a_topic_of_this_bag_or_of_another_is_ground_truth(tmp_path: Path) -> None:
    rows = [("person", BOX, 1.0), ("person", (5.0, 5.0, 5.0, 9.0), 1.0), ("car", FAR_BOX, 1.0)]
    one = write_bag(tmp_path / "one", [rgb(0), boxes("/labels", 1, rows), boxes("/labels", 1, rows)])
    two = write_bag(tmp_path / "two", [rgb(0)])
    with Bag(one) as bag:
        truth = read_ground_truth("/labels", bag, [])
    assert truth.stamps.tolist() == [stamp(1)] and truth.duplicates == 1
    # The box without area is left out.
    assert [truth.class_names[label] for label in truth.labels[0]] == ["person", "car"]
    with Bag(two) as bag:
        assert read_ground_truth(str(one), bag, []).stamps.tolist() == [stamp(1)]
        with pytest.raises(GroundTruthError, match=r"no topic of the bag \(with detection arrays: none\) and no path"):
            read_ground_truth("/labels", bag, [])
        with pytest.raises(BagError, match="holds sensor_msgs/msg/Image: expected vision_msgs"):
            read_ground_truth("/rgb/image_raw", bag, [])


def test_boxes_of_other_classes_are_counted_and_left_out(tmp_path: Path) -> None:
    rows = [("dog", BOX, 1.0), ("car", FAR_BOX, 1.0), ("dog", FAR_BOX, 1.0)]
    with Bag(write_bag(tmp_path / "bag", [boxes("/labels", 1, rows)])) as bag:
        truth, unknown = read_ground_truth("/labels", bag, []).with_classes(("person", "car"))
    assert unknown == {"dog": 2}
    assert truth.labels[0].tolist() == [1] and truth.boxes[0].tolist() == [list(FAR_BOX)]
