# SPDX-License-Identifier: Apache-2.0
"""Bags with faults of cameras, and bags from datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from paired_folders import write_paired_yolo
from typer.testing import CliRunner

from fusion_mamba_ros.bags.bag_reading import Bag
from fusion_mamba_ros.bags.camera_recording import RecordingOptions, record_sequences
from fusion_mamba_ros.bags.dataset_recording import record_dataset
from fusion_mamba_ros.bags.recording_faults import RecordingFaults
from fusion_mamba_ros.bags.vision_messages import boxes_of, stamp_ns_of
from fusion_mamba_ros.cli import app
from fusion_mamba_ros.datasets.open_dataset import open_dataset
from fusion_mamba_ros.streams.image_decoding import ImageDecodingError
from fusion_mamba_ros.streams.message_decoding import image_of

COUNT = 60
START_NS = 10**9
RGB, THERMAL = "/rgb/image_raw", "/thermal/image_raw"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty images of each camera; the level says the number."""
    folder = tmp_path_factory.mktemp("images")
    for camera in ("rgb", "thermal"):
        (folder / camera).mkdir()
    for number in range(COUNT):
        cv2.imwrite(str(folder / "rgb" / f"{number}.png"), np.full((24, 32, 3), 4 * number, np.uint8))
        cv2.imwrite(str(folder / "thermal" / f"{number}.png"), np.full((20, 30), 1000 * number, np.uint16))
    return folder


def record(
    folders: Path, path: Path, *, compressed: bool = False, **faults: Any
) -> tuple[Any, dict[str, list[tuple[int, int | None]]]]:
    """Record the folders at 10 Hz. Return the summary, and (stamp, level or None if corrupt) by topic."""
    options = RecordingOptions(
        frames_per_second=10.0,
        start_ns=START_NS,
        compressed=compressed,
        thermal_offset_sec=faults.pop("thermal_offset_sec", 0.0),
        faults=RecordingFaults(**faults),
    )
    recording = record_sequences(path, options, rgb=folders / "rgb", thermal=folders / "thermal")
    found: dict[str, list[tuple[int, int | None]]] = {}
    with Bag(path) as bag:
        for message, fields in bag.read():
            assert stamp_ns_of(fields) == message.recorded_ns
            try:
                level: int | None = int(image_of(fields).pixels.flat[0])
            except ImageDecodingError:
                level = None
            found.setdefault(message.topic.removesuffix("/compressed"), []).append((message.recorded_ns, level))
    return recording, found


def numbers(frames: list[tuple[int, int | None]], step: int) -> list[int | None]:
    return [None if level is None else level // step for _, level in frames]


def test_offset_drift_and_jitter_move_the_stamps_together(folders: Path, tmp_path: Path) -> None:
    _, found = record(folders, tmp_path / "bag", thermal_offset_sec=0.02, thermal_drift=0.01, jitter_sec=0.004, seed=5)
    seconds = np.arange(COUNT) / 10
    rgb = np.array([stamp for stamp, _ in found[RGB]]) * 1e-9 - 1
    thermal = np.array([stamp for stamp, _ in found[THERMAL]]) * 1e-9 - 1
    jitter_rgb, jitter_thermal = rgb - seconds, thermal - (1.01 * seconds + 0.02)
    for jitter in (jitter_rgb, jitter_thermal):
        assert np.abs(jitter).max() < 0.0041 and jitter.std() > 0.0015
        assert abs(jitter.mean()) < 0.002
    assert abs(np.corrcoef(jitter_rgb, jitter_thermal)[0, 1]) < 0.5
    assert numbers(found[RGB], 4) == numbers(found[THERMAL], 1000) == list(range(COUNT))


def test_freeze_with_dropped_and_corrupt_frames(folders: Path, tmp_path: Path) -> None:
    recording, found = record(
        folders, tmp_path / "bag", freezes=((2.0, 1.0), (4.0, 0.5)), drop_share=0.2, corrupt_share=0.2, seed=1
    )
    dropped = 2 * COUNT - len(found[RGB]) - len(found[THERMAL])
    corrupt = sum(level is None for frames in found.values() for _, level in frames)
    assert (recording.dropped, recording.corrupt) == (dropped, corrupt)
    assert (recording.rgb_count, recording.thermal_count) == (len(found[RGB]), len(found[THERMAL]))
    assert 10 < dropped < 40 and 5 < corrupt < 35
    frozen = 0
    for stamp, level in found[THERMAL]:
        number = round((stamp - START_NS) / 10**8)
        frozen += 20 <= number < 30 or 40 <= number < 45
        shown = 19 if 20 <= number < 30 else 39 if 40 <= number < 45 else number
        assert level in (None, 1000 * shown)
    assert recording.frozen == frozen > 5
    for stamp, level in found[RGB]:
        assert level in (None, 4 * round((stamp - START_NS) / 10**8))


@pytest.mark.parametrize("compressed", [False, True])
def test_corrupt_images_are_those_that_the_decoder_refuses(folders: Path, tmp_path: Path, compressed: bool) -> None:
    recording, found = record(folders, tmp_path / "bag", compressed=compressed, corrupt_share=0.3)
    refused = sum(level is None for frames in found.values() for _, level in frames)
    assert refused == recording.corrupt > 10


def test_the_same_seed_gives_the_same_faults_and_one_kind_does_not_change_another(
    folders: Path, tmp_path: Path
) -> None:
    _, first = record(folders, tmp_path / "first", jitter_sec=0.01, drop_share=0.3, seed=7)
    _, again = record(folders, tmp_path / "again", jitter_sec=0.01, drop_share=0.3, seed=7)
    _, whole = record(folders, tmp_path / "whole", jitter_sec=0.01, seed=7)
    _, other = record(folders, tmp_path / "other", jitter_sec=0.01, drop_share=0.3, seed=8)
    assert first == again != other
    for topic, frames in first.items():
        assert set(frames) < set(whole[topic])


def test_labels_of_dropped_frames_stay(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app,
        ["make-bag", "--scene", "night", "--seconds", "0.6", "--fps", "10", "--out", str(tmp_path / "bag"),
         "--drop", "0.5", "--jitter", "0.02", "--labels-topic", "/truth", "--fault-seed", "3"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    with Bag(tmp_path / "bag") as bag:
        labels = [message.recorded_ns for message in bag.messages(["/truth"])]
        rgb = [message.recorded_ns for message in bag.messages([RGB])]
    assert len(labels) == 6 and 0 < len(rgb) < 6
    assert set(rgb) < set(labels)
    assert "dropped" in result.output


def test_bag_of_a_dataset_holds_its_pixels_and_boxes(tmp_path: Path) -> None:
    stems = [f"pair{number}" for number in range(5)]
    data = write_paired_yolo(
        tmp_path / "set", {"train": ["other"], "val": stems}, ["0 0.5 0.5 0.3 0.4", "2 0.25 0.5 0.111 0.2"]
    )
    options = RecordingOptions(frames_per_second=2.0, start_ns=START_NS)
    recording = record_dataset(tmp_path / "bag", options, data=[data], split="val")
    assert (recording.rgb_count, recording.thermal_count) == (5, 5)
    dataset = open_dataset(data, "val")
    with Bag(tmp_path / "bag") as bag:
        by_topic: dict[str, list[Any]] = {}
        for message, fields in bag.read():
            by_topic.setdefault(message.topic, []).append(fields)
    for index in range(5):
        sample = dataset[index]
        np.testing.assert_array_equal(image_of(by_topic[RGB][index]).pixels, sample.images["rgb"])
        np.testing.assert_array_equal(image_of(by_topic[THERMAL][index]).pixels, sample.images["thermal"])
        boxes, _, names = boxes_of(by_topic["/ground_truth"][index])
        np.testing.assert_allclose(boxes, sample.boxes, atol=1e-4)
        assert names == [dataset.class_names[label] for label in sample.labels]
        assert stamp_ns_of(by_topic["/ground_truth"][index]) == stamp_ns_of(by_topic[RGB][index])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--scene", "night", "--jitter", "0.04"), "jitter_sec is 0.04: expected less than half of the rgb frame"),
        (("--scene", "night", "--drop", "1"), "drop_share is 1: expected a share"),
        (("--scene", "night", "--corrupt", "-0.1"), "corrupt_share is -0.1: expected a share"),
        (("--scene", "night", "--thermal-drift", "nan"), "thermal_drift is nan"),
        (("--scene", "night", "--freeze", "3"), "a freeze is '3': expected START:LENGTH"),
        (("--scene", "night", "--freeze", "3:0"), "a freeze is 3:0: expected a start"),
        (("--scene", "night", "--fault-seed", "-1"), "the seed of the faults is -1"),
        (("--scene", "night", "--labels-topic", "/rgb/image_raw"), "holds the true boxes"),
        (("--scene", "night", "--data", "set"), "--scene and --data bring their own images"),
        (("--data", "no_such_set"), "no_such_set"),
    ],
)
def test_bad_faults_are_refused_in_one_sentence_and_leave_no_bag(
    tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    result = CliRunner().invoke(app, ["make-bag", *arguments, "--out", str(tmp_path / "bag")])
    assert result.exit_code == 2
    assert sentence in result.output
    assert not (tmp_path / "bag").exists()
