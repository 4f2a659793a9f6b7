# SPDX-License-Identifier: Apache-2.0
"""Evaluation of bags that are damaged, unordered or lack something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_bags import (
    PERIOD_NS,
    Message,
    boxes,
    rgb,
    stamp,
    thermal,
    write_bag,
)
from evaluation_drive import BOTH, TRUE, TRUTH, drive, evaluate
from rosbags.rosbag2 import StoragePlugin

from fusion_mamba_ros.bags.bag_reading import BagError


def test_corrupt_images_missing_ground_truth_and_duplicated_stamps_at_once(tmp_path: Path) -> None:
    messages = []
    for index in range(20):
        options = {"encoding": "no such encoding"} if index == 4 else {}
        messages.append(rgb(index, **options))
        if index == 9:  # the driver sends the frame twice
            messages.append(rgb(index, received_ns=stamp(index) + 1))
        if index == 12:  # a message that ends within its header
            messages.append(Message("/thermal/image_raw", stamp(index), b"\x00\x01\x00\x00" + b"\x07" * 10))
        else:
            messages.append(thermal(index))
        if index not in (2, 7, 9):
            messages.append(boxes(TRUTH, index, TRUE))
        if index == 15:
            messages.append(boxes(TRUTH, index, BOTH))  # the same stamp once more: the first counts
    # Ground truth between two frames, farther than the tolerance from both.
    messages.append(boxes(TRUTH, 30.5, TRUE, received_ns=stamp(20)))
    evaluation = evaluate(write_bag(tmp_path / "bag", messages))
    report = evaluation.report
    by_index: dict[float, list[Any]] = {}
    for record in evaluation.records:
        by_index.setdefault((record.stamp_ns - stamp(0)) / PERIOD_NS, []).append(record)
    assert [record.reason.value for record in by_index[4] if record.reason] == ["corrupt", "unpaired"]
    assert sorted(record.reason.value for record in by_index[9]) == ["late", "no_ground_truth"]
    assert [record.reason.value for record in by_index[2]] == ["no_ground_truth"]
    assert by_index[30.5][0].reason == "no_frame" and by_index[30.5][0].false_negatives == {"person": 1}
    assert [record.camera for record in by_index[12]] == ["rgb"] and by_index[12][0].reason == "unpaired"
    # 20 frames, without output: 4 (image), 12 (partner). With output but no ground truth: 2, 7, 9.
    assert report["outcomes"]["evaluated"] == 15
    # Every image message is in one line: 20 + 1 RGB and 20 thermal frames, 18 of them in pairs, and one ground truth.
    assert len(evaluation.records) == 21 + 20 - 18 + 1
    recall = report["accuracy"]["recall_all_frames"]
    assert (recall["frames"], recall["frames_without_output"]) == (18, 3)
    assert recall["per_class"]["person"] == pytest.approx(15 / 18)
    for camera in ("rgb", "thermal"):
        section = report["cameras"][camera]
        fates = ("paired", "alone", "unpaired", "late", "refused", "corrupt", "frozen")
        assert section["frames"] == sum(section[name] for name in fates)
    assert "1 frames of the ground truth repeat a stamp" in report["bag"]["problems"][-1]


def test_messages_in_any_order_are_read_in_the_order_of_their_receive_times(tmp_path: Path) -> None:
    messages = drive(12)
    np.random.default_rng(3).shuffle(messages)
    report = evaluate(write_bag(tmp_path / "bag", messages, plugin=StoragePlugin.SQLITE3)).report
    assert report["outcomes"] == {"evaluated": 12, "skipped": {}}


def test_a_topic_of_another_type_is_a_sentence_and_the_rest_is_evaluated(tmp_path: Path) -> None:
    messages = drive(12, cameras=(rgb,))
    messages += [boxes("/thermal/image_raw", index, TRUE) for index in range(12)]
    report = evaluate(write_bag(tmp_path / "bag", messages)).report
    assert report["outcomes"]["evaluated"] > 0
    assert "'/thermal/image_raw' holds vision_msgs/msg/Detection2DArray: expected" in report["bag"]["problems"][0]


@pytest.mark.parametrize("detections", [None, TRUTH])
def test_a_truncated_bag_without_metadata_is_evaluated_as_far_as_it_can_be_read(
    tmp_path: Path, detections: str | None
) -> None:
    path = write_bag(tmp_path / "bag", drive(40))
    (path / "metadata.yaml").unlink()
    file = path / "bag.mcap"
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    report = evaluate(path, detections=detections, ground_truth=TRUTH).report
    assert 0 < report["outcomes"]["evaluated"] < 40
    assert report["accuracy"]["overall"]["recall"] == 1.0
    assert any("is damaged" in problem for problem in report["bag"]["problems"])
    assert len(set(report["bag"]["problems"])) == len(report["bag"]["problems"])


def test_a_bag_without_any_image_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="has no images: the bag has no images of the rgb camera"):
        evaluate(write_bag(tmp_path / "bag", [boxes(TRUTH, 0, TRUE)]))
