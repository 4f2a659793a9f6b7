# SPDX-License-Identifier: Apache-2.0
"""The whole way: a bag, the player, the node with a real network, and what is recorded of it, over real DDS."""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from detector_graph import isolate
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_typestore

from fusion_mamba_ros.bags.bag_reading import Bag, BagError
from fusion_mamba_ros.bags.bag_writing import COMPRESSED_IMAGE, IMAGE, ImageBagWriter
from fusion_mamba_ros.bags.camera_recording import RecordingOptions, record_scene, record_sequences
from fusion_mamba_ros.bags.vision_messages import stamp_ns_of
from fusion_mamba_ros.evaluation.replay_report import draw_replay, read_recording, summarise
from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata, save_checkpoint
from fusion_mamba_ros.perception.detections import Mode
from fusion_mamba_ros.ros.bag_tools.replay import ReplayError, ReplayOptions, replay

TOPICS: dict[str, Any] = {"rgb_topic": "/rgb/image_raw", "thermal_topic": "/thermal/image_raw"}
CLASSES = ("person", "bicycle", "car")


@pytest.fixture(autouse=True, scope="module")
def domain() -> None:
    isolate()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    config = ModelConfig(classes=len(CLASSES), fusion="add")
    save_checkpoint(path, FusionMambaDetector(config), CheckpointMetadata(CLASSES, (160, 128)))
    return path


def scene_bag(path: Path, **changes: Any) -> Path:
    options = dataclasses.replace(RecordingOptions(frames_per_second=10.0), **changes)
    record_scene(path, options, night=True, seed=2, seconds=1.5)
    return path


def test_a_bag_comes_out_as_arrays_with_the_headers_of_its_rgb_frames(tmp_path: Path, checkpoint: Path) -> None:
    source = scene_bag(tmp_path / "cameras")
    # An untrained network is unsure of everything: with the threshold this low it finds boxes all the same.
    options = ReplayOptions(
        checkpoint, tmp_path, rate=0.5, parameters={"score_threshold": "0.001", "max_detections": "20"}
    )
    status = replay(source, tmp_path / "detections", options)
    recording = read_recording(tmp_path / "detections")
    summary = summarise(source, recording, **TOPICS)

    with Bag(source) as bag:
        headers = [(stamp_ns_of(fields), fields.header.frame_id) for _, fields in bag.read([TOPICS["rgb_topic"]])]
    published = [(array.stamp_ns, array.frame_id) for array in recording.arrays]
    assert set(published) <= set(headers)
    stamps = [stamp for stamp, _ in published]
    assert stamps == sorted(set(stamps))
    assert summary["faults"] == []

    assert summary["frames_rgb"] == summary["frames_thermal"] == 15
    assert summary["lost_in_transport"] == {"rgb": 0, "thermal": 0}
    for camera in (status.rgb, status.thermal):
        ended = (
            camera.paired,
            camera.alone,
            camera.unpaired,
            camera.late,
            camera.refused,
            camera.dropped,
            camera.failed,
        )
        assert camera.received == 15 == sum(ended) and camera.waiting == 0
    assert status.rgb.paired >= 10
    assert len(recording.arrays) == status.published == summary["published"]
    modes = Counter(array.detections.mode for array in recording.arrays)
    assert modes[Mode.FUSED] == summary["pairs"] == status.rgb.paired

    assert recording.class_names == CLASSES
    assert summary["detections"] == sum(len(array.detections) for array in recording.arrays) > 0
    for array in recording.arrays:
        scores = array.detections.scores
        assert len(scores) <= 20 and (np.diff(scores) <= 0).all()
    assert 0 < summary["latency_ms"]["p50"] <= summary["latency_ms"]["p95"]

    written = draw_replay(source, recording, tmp_path, rate_hz=10.0, **TOPICS)
    assert {path.name for path in written} == {"annotated.mp4", "contact_sheet.png"}
    assert all(path.stat().st_size > 10_000 for path in written)


def test_a_slow_replay_does_not_take_a_thermal_camera_that_repeats_images_for_frozen(
    tmp_path: Path, checkpoint: Path
) -> None:
    # Each image three times, as of a 9 Hz core behind a 30 Hz driver; played so slowly, for 2 s of the node's clock.
    generator = np.random.default_rng(5)
    for number in range(9):
        if number % 3 == 0:
            thermal = generator.integers(0, 255, (96, 128), np.uint8)
        for camera, image in (("rgb", generator.integers(0, 255, (96, 128, 3), np.uint8)), ("thermal", thermal)):
            path = tmp_path / camera / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            assert cv2.imwrite(str(path), image)
    source = tmp_path / "cameras"
    cameras: dict[str, Any] = {camera: tmp_path / camera for camera in ("rgb", "thermal")}
    record_sequences(source, RecordingOptions(frames_per_second=10.0), **cameras)
    status = replay(source, tmp_path / "detections", ReplayOptions(checkpoint, tmp_path, rate=0.15))
    assert status.rgb.paired == status.thermal.paired == 9


def test_compressed_bag_is_replayed_through_the_compressed_topics(tmp_path: Path, checkpoint: Path) -> None:
    source = scene_bag(tmp_path / "cameras", compressed=True)
    topics: dict[str, Any] = {name: f"{topic}/compressed" for name, topic in TOPICS.items()}
    status = replay(source, tmp_path / "detections", ReplayOptions(checkpoint, tmp_path, rate=0.5, **topics))
    assert status.rgb.received == status.thermal.received == 15
    assert status.rgb.paired >= 1
    assert status.rgb.paired + status.rgb.dropped == 15  # a busy machine drops pairs, but counts every one
    assert summarise(source, read_recording(tmp_path / "detections"), **topics)["faults"] == []


def test_missing_checkpoint_fails_with_the_nodes_own_sentence(tmp_path: Path) -> None:
    source = scene_bag(tmp_path / "cameras")
    with pytest.raises(ReplayError, match=r"nothing\.safetensors"):
        replay(source, tmp_path / "detections", ReplayOptions(tmp_path / "nothing.safetensors", tmp_path))


def test_bag_without_the_topic_is_refused_before_anything_starts(tmp_path: Path, checkpoint: Path) -> None:
    bag = ImageBagWriter(tmp_path / "cameras", topics={"rgb": "/a"}, frame_ids={"rgb": "a"})
    bag.write_image("rgb", 10**9, np.zeros((8, 8, 3), np.uint8))
    bag.close()
    with pytest.raises(BagError, match="no messages on topic '/rgb/image_raw': it has /a"):
        replay(tmp_path / "cameras", tmp_path / "detections", ReplayOptions(checkpoint, tmp_path))
    assert not (tmp_path / "detections").exists()


def mixed_bag(path: Path, rgb: tuple[str, str], thermal: tuple[str, str]) -> Path:
    """Write a bag with one message of each camera: (topic, message type). Its bytes are never read."""
    typestore = get_typestore(Stores.ROS2_JAZZY)
    with Writer(path, version=8) as writer:
        for topic, message_type in (rgb, thermal):
            connection = writer.add_connection(topic, message_type, typestore=typestore)
            writer.write(connection, 10**9, b"")
    return path


@pytest.mark.parametrize(
    ("rgb", "thermal", "sentence"),
    [
        (
            ("/rgb/compressed", COMPRESSED_IMAGE),
            ("/thermal", IMAGE),
            "'/thermal' holds sensor_msgs/msg/Image: the node",
        ),
        (("/rgb", IMAGE), ("/thermal/compressed", COMPRESSED_IMAGE), "the node takes both raw or both compressed"),
        (("/rgb/compressed", COMPRESSED_IMAGE), ("/thermal/png", COMPRESSED_IMAGE), "'/thermal/png' of bag"),
    ],
)
def test_a_bag_that_the_node_cannot_subscribe_to_is_refused_before_anything_starts(
    tmp_path: Path, rgb: tuple[str, str], thermal: tuple[str, str], sentence: str
) -> None:
    source = mixed_bag(tmp_path / "cameras", rgb, thermal)
    options = ReplayOptions(tmp_path / "any.safetensors", tmp_path, rgb_topic=rgb[0], thermal_topic=thermal[0])
    with pytest.raises(BagError, match=sentence) as error:
        replay(source, tmp_path / "detections", options)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "detector_node.log").exists()
