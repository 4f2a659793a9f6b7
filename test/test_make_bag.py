# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba make-bag`: folders, videos and scenes, read again by another reader."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.interfaces import ConnectionExtRosbag2
from typer.testing import CliRunner, Result

from fusion_mamba_ros.bags.bag_reading import Bag
from fusion_mamba_ros.bags.vision_messages import boxes_of, detection_typestore, stamp_ns_of
from fusion_mamba_ros.cli import app
from fusion_mamba_ros.streams.message_decoding import image_of
from fusion_mamba_ros.synthetic.procedural_scene import ProceduralScene

DATA = os.environ.get("FUSION_MAMBA_DATA")


def make_bag(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["make-bag", *map(str, arguments)])


def write_images(folder: Path, stems: Iterable[object], *, thermal: bool = False, bits: int = 8) -> None:
    folder.mkdir()
    for value, stem in enumerate(stems):
        if thermal:
            image = np.full((20, 30), 100 * value + 7, np.uint16 if bits == 16 else np.uint8)
        else:
            image = np.full((40, 60, 3), (value, 50, 200), np.uint8)
        assert cv2.imwrite(str(folder / f"{stem}.png"), image)


def write_video(path: Path, levels: Iterable[int], rate: float = 10.0, size: tuple[int, int] = (64, 48)) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), rate, size)
    assert writer.isOpened()
    for level in levels:
        writer.write(np.full((size[1], size[0], 3), level, np.uint8))
    writer.release()


def test_folders_become_images_that_another_reader_reads_back(tmp_path: Path) -> None:
    write_images(tmp_path / "rgb", ["f1", "f2", "f10"])
    write_images(tmp_path / "thermal", ["f1", "f2", "f10"], thermal=True, bits=16)
    result = make_bag("--rgb", tmp_path / "rgb", "--thermal", tmp_path / "thermal", "--out", tmp_path / "bag",
                      "--fps", 10, "--start", 100, "--thermal-offset", 0.02)  # fmt: skip
    assert result.exit_code == 0, result.output
    with AnyReader([tmp_path / "bag"]) as reader:
        fields: list[tuple[str, int, Any]] = [
            (c.topic, time, reader.deserialize(data, c.msgtype)) for c, time, data in reader.messages()
        ]
    rgb = [(time, m) for topic, time, m in fields if topic == "/rgb/image_raw"]
    thermal = [(time, m) for topic, time, m in fields if topic == "/thermal/image_raw"]
    assert [time for time, _ in rgb] == [100_000_000_000, 100_100_000_000, 100_200_000_000]
    assert [time for time, _ in thermal] == [100_020_000_000, 100_120_000_000, 100_220_000_000]
    for value, (time, message) in enumerate(rgb):
        assert (message.encoding, message.width, message.height, message.step) == ("rgb8", 60, 40, 180)
        assert message.header.stamp.sec * 10**9 + message.header.stamp.nanosec == time
        assert message.header.frame_id == "rgb_camera_optical_frame"
        # Written blue first by OpenCV: (value, 50, 200) is red 200, green 50, blue value.
        assert tuple(message.data[:3]) == (200, 50, value)
    for value, (_, message) in enumerate(thermal):
        assert (message.encoding, message.step) == ("mono16", 60)
        assert message.data[:2].view(np.uint16)[0] == 100 * value + 7


def test_three_channel_infrared_video_is_read_by_luma(tmp_path: Path) -> None:
    write_video(tmp_path / "rgb.mp4", [10, 20, 30])
    write_video(tmp_path / "ir.mp4", [40, 120, 200])
    result = make_bag("--rgb", tmp_path / "rgb.mp4", "--thermal", tmp_path / "ir.mp4", "--out", tmp_path / "bag")
    assert result.exit_code == 0, result.output
    with Bag(tmp_path / "bag") as bag:
        images = [image_of(fields).pixels for _, fields in bag.read(["/thermal/image_raw"])]
        assert bag.topics["/rgb/image_raw"].count == 3
        stamps = [stamp_ns_of(fields) for _, fields in bag.read(["/rgb/image_raw"])]
    assert [image.shape for image in images] == [(48, 64)] * 3
    np.testing.assert_allclose([image.mean() for image in images], [40, 120, 200], atol=3)
    np.testing.assert_allclose(np.diff(stamps), 1e8, atol=1)


def test_shorter_video_is_said_and_every_frame_of_both_is_written(tmp_path: Path) -> None:
    write_video(tmp_path / "rgb.mp4", range(0, 100, 10))
    write_video(tmp_path / "ir.mp4", range(0, 60, 10))
    arguments = ("--rgb", tmp_path / "rgb.mp4", "--thermal", tmp_path / "ir.mp4")
    result = make_bag(*arguments, "--out", tmp_path / "bag")
    assert result.exit_code == 0, result.output
    assert "6 thermal frames, 10 RGB frames: the last 4 RGB frames have no partner" in result.output
    with Bag(tmp_path / "bag") as bag:
        assert (bag.topics["/rgb/image_raw"].count, bag.topics["/thermal/image_raw"].count) == (10, 6)

    result = make_bag(*arguments, "--out", tmp_path / "short", "--shortest")
    assert result.exit_code == 0 and "no partner" not in result.output
    with Bag(tmp_path / "short") as bag:
        assert (bag.topics["/rgb/image_raw"].count, bag.topics["/thermal/image_raw"].count) == (6, 6)


def test_folders_with_gaps_stay_in_step(tmp_path: Path) -> None:
    write_images(tmp_path / "rgb", ["1", "2", "3", "4"])
    write_images(tmp_path / "thermal", ["1", "4"], thermal=True)
    result = make_bag("--rgb", tmp_path / "rgb", "--thermal", tmp_path / "thermal", "--out", tmp_path / "bag",
                      "--fps", 10, "--start", 100)  # fmt: skip
    assert result.exit_code == 0 and "2 images have no partner of the same name" in result.output
    with Bag(tmp_path / "bag") as bag:
        stamps = [message.recorded_ns for message in bag.messages(["/thermal/image_raw"])]
    assert stamps == [100_000_000_000, 100_300_000_000]


def test_compressed_thermal_is_lossless_and_rgb_is_close(tmp_path: Path) -> None:
    scene = ProceduralScene(3, radiometric=True)
    result = make_bag("--scene", "night", "--seed", 3, "--seconds", 0.2, "--compressed", "--radiometric",
                      "--out", tmp_path / "bag", "--fps", 30)  # fmt: skip
    assert result.exit_code == 0, result.output
    with Bag(tmp_path / "bag") as bag:
        images = {
            topic: [image_of(fields).pixels for _, fields in bag.read([topic])]
            for topic in ("/rgb/image_raw/compressed", "/thermal/image_raw/compressed")
        }
    for index in range(6):
        sample = scene.render(index)
        np.testing.assert_array_equal(images["/thermal/image_raw/compressed"][index], sample.images["thermal"])
        difference = images["/rgb/image_raw/compressed"][index].astype(int) - sample.images["rgb"]
        assert np.abs(difference).mean() < 4


def test_scene_brings_its_true_boxes(tmp_path: Path) -> None:
    result = make_bag("--scene", "day", "--seed", 5, "--seconds", 0.4, "--out", tmp_path / "bag")
    assert result.exit_code == 0, result.output
    scene = ProceduralScene(5, night=False, frames_per_second=15)
    with Bag(tmp_path / "bag") as bag:
        arrays = [fields for _, fields in bag.read(["/ground_truth"])]
        rgb_stamps = [message.recorded_ns for message in bag.messages(["/rgb/image_raw"])]
    assert [stamp_ns_of(array) for array in arrays] == rgb_stamps
    for index, array in enumerate(arrays):
        sample = scene.render(index)
        boxes, scores, class_ids = boxes_of(array)
        np.testing.assert_allclose(boxes, sample.boxes, atol=1e-3)
        assert (scores == 1).all()
        assert class_ids == [("person", "bicycle", "car")[label] for label in sample.labels]


def test_bag_names_types_hashes_and_quality_of_service(tmp_path: Path) -> None:
    make_bag("--scene", "night", "--seconds", 0.1, "--out", tmp_path / "bag")
    typestore = detection_typestore()
    with AnyReader([tmp_path / "bag"]) as reader:
        by_topic = {connection.topic: connection for connection in reader.connections}
    image = by_topic["/rgb/image_raw"]
    # As in rosbag2's own recordings of sensor_msgs/Image, Jazzy.
    assert image.digest == "RIHS01_d31d41a9a4c4bc8eae9be757b0beed306564f7526c88ea6a4588fb9582527d47"
    assert "uint8[] data" in image.msgdef.data
    assert isinstance(image.ext, ConnectionExtRosbag2)
    assert image.ext.offered_qos_profiles[0].reliability.name == "RELIABLE"
    assert by_topic["/ground_truth"].digest == typestore.hash_rihs01("vision_msgs/msg/Detection2DArray")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--rgb", "missing.mp4", "--thermal", "missing.mp4"), "'missing.mp4' does not exist"),
        ((), "give --rgb and --thermal, or --scene night"),
        (("--scene", "dusk"), "--scene is 'dusk': expected night or day"),
        (("--scene", "night", "--fps", "0"), "frames_per_second is 0"),
        (("--scene", "night", "--seconds", "0"), "seconds is 0"),
        (("--scene", "night", "--topics", "/a", "/a"), "both cameras have the topic '/a'"),
        (("--scene", "night", "--topics", "/a", "a"), "both cameras have the topic '/a'"),
        (("--scene", "night", "--topics", "/a", "/ground_truth"), "topic '/ground_truth' holds the true boxes"),
        (("--scene", "night", "--start", "inf"), "--start is inf: expected seconds since 1970"),
        (("--scene", "night", "--start", "0"), "the first stamp is 0 s"),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence_and_leave_no_bag(
    tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    result = make_bag(*arguments, "--out", tmp_path / "bag")
    assert result.exit_code == 2
    assert sentence in result.output
    assert not (tmp_path / "bag").exists()


def test_damaged_video_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video at all")
    write_video(tmp_path / "ir.mp4", [1, 2])
    result = make_bag("--rgb", tmp_path / "bad.mp4", "--thermal", tmp_path / "ir.mp4", "--out", tmp_path / "bag")
    assert result.exit_code == 2 and "bad.mp4' cannot be opened" in result.output


def test_damaged_image_is_named_and_the_half_bag_removed(tmp_path: Path) -> None:
    write_images(tmp_path / "rgb", ["1", "2"])
    write_images(tmp_path / "thermal", ["1", "2"], thermal=True)
    (tmp_path / "thermal" / "2.png").write_bytes((tmp_path / "thermal" / "2.png").read_bytes()[:-20])
    result = make_bag("--rgb", tmp_path / "rgb", "--thermal", tmp_path / "thermal", "--out", tmp_path / "bag")
    assert result.exit_code == 2 and "2.png" in result.output
    assert not (tmp_path / "bag").exists()


def test_folders_without_a_common_name_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "rgb", ["a"])
    write_images(tmp_path / "thermal", ["b"], thermal=True)
    result = make_bag("--rgb", tmp_path / "rgb", "--thermal", tmp_path / "thermal", "--out", tmp_path / "bag")
    assert result.exit_code == 2 and "name the two images of a pair alike" in result.output


# What a full disk does, without filling one: writing beyond this size of a file fails.
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
from fusion_mamba_ros.cli import app
app(sys.argv[2:])
"""


@pytest.mark.parametrize("limit", [0, 1000, 2_000_000, 3_770_000])
def test_a_full_disk_is_one_sentence_and_leaves_no_bag(tmp_path: Path, limit: int) -> None:
    command = ("make-bag", "--scene", "night", "--seconds", "0.2", "--out", str(tmp_path / "bag"))
    result = subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), *command], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 2, result.stderr
    sentence = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert len(sentence) == 1 and "cannot be written: File too large" in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "bag").exists()


def test_existing_bag_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag" / "notes.txt").write_text("mine")
    result = make_bag("--scene", "night", "--seconds", 0.1, "--out", tmp_path / "bag")
    assert result.exit_code == 2 and "exists already" in result.output
    assert (tmp_path / "bag" / "notes.txt").read_text() == "mine"


@pytest.mark.skipif(DATA is None, reason="FUSION_MAMBA_DATA is not set")
def test_real_videos_keep_every_frame(tmp_path: Path) -> None:
    assert DATA is not None
    folder = Path(DATA) / "m3svd"
    rgb, thermal = folder / "0111_1716_visible.mp4", folder / "0111_1716_infrared.mp4"
    result = make_bag("--rgb", rgb, "--thermal", thermal, "--out", tmp_path / "bag")
    assert result.exit_code == 0, result.output
    with Bag(tmp_path / "bag") as bag:
        assert bag.topics["/rgb/image_raw"].count == bag.topics["/thermal/image_raw"].count == 151
        _, first = next(bag.read(["/thermal/image_raw"]))
    capture = cv2.VideoCapture(str(thermal))
    expected = cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2GRAY)
    np.testing.assert_array_equal(image_of(first).pixels, expected)
