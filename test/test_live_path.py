# SPDX-License-Identifier: Apache-2.0
"""The node and `eval-bag` find the same boxes in a bag, and the scores of both are the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from detector_graph import isolate
from evaluation_bags import Message, stamp, write_bag
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image
from simulated_node import SimulatedDetector
from simulated_world import SECOND, World

from fusion_mamba_ros.bags.bag_reading import Bag
from fusion_mamba_ros.bags.camera_recording import RecordingOptions, record_scene
from fusion_mamba_ros.bags.vision_messages import boxes_of, stamp_ns_of
from fusion_mamba_ros.evaluation.bag_evaluation.collected_frame import CollectedBag
from fusion_mamba_ros.evaluation.bag_evaluation.evaluate_bag import evaluate_bag, load_predictor
from fusion_mamba_ros.evaluation.bag_evaluation.options import BagEvaluationOptions, DetectorOptions
from fusion_mamba_ros.evaluation.bag_evaluation.prediction import PredictionOptions, collect_predictions
from fusion_mamba_ros.perception.checkpoint import load_checkpoint, read_metadata, save_checkpoint
from fusion_mamba_ros.perception.default_checkpoint import default_checkpoint
from fusion_mamba_ros.perception.predictor import Predictor, Thresholds
from fusion_mamba_ros.ros.bag_tools.replay import ReplayOptions, replay
from fusion_mamba_ros.streams.frames import Camera
from fusion_mamba_ros.streams.pairing_limits import PairingLimits

TOPICS = {"rgb": "/rgb/image_raw", "thermal": "/thermal/image_raw"}
PX = 1e-3
MS = 1_000_000


@pytest.fixture(autouse=True, scope="module")
def domain() -> None:
    isolate()


class PassingTime:
    """A predictor of which every prediction takes 30 ms of a simulated world."""

    def __init__(self, predictor: Predictor, world: World) -> None:
        self._predictor, self._world = predictor, world

    def __getattr__(self, name: str) -> Any:
        return getattr(self._predictor, name)

    def predict(self, images: Any, *, reference_size: Any = None) -> Any:
        self._world.run_until(self._world.steady_ns + 30 * MS)
        return self._predictor.predict(images, reference_size=reference_size)


def small_model(folder: Path, input_size: tuple[int, int]) -> Path:
    """Write the shipped weights with a small input: fast, and every image has boxes of its own."""
    model, metadata = load_checkpoint(default_checkpoint())
    save_checkpoint(folder / "small.safetensors", model, replace(metadata, input_size=input_size))
    return folder / "small.safetensors"


def faulty_bag(path: Path, generator: np.random.Generator, *, encoding: str, rgb_stops: bool) -> Path:
    """Write frames with jitter, a corrupt RGB image and a repeated thermal stamp. Thermal stops for 0.5 s, then RGB."""
    messages: list[Message] = []
    for index in range(20 if rgb_stops else 13):
        if not 13 <= index < 18:
            pixels = generator.integers(0, 255, (96, 128, 3), np.uint8)
            received = stamp(index) + int(generator.integers(1, 15)) * MS
            messages.append(Message(TOPICS["rgb"], stamp(index), pixels, received, "nonsense" if index == 2 else None))
        if 4 <= index < 9:
            continue
        # 16-bit counts drift, as those of a camera that warms up.
        low, high = (7000 + 40 * index, 9000 + 40 * index) if encoding == "mono16" else (40, 200)
        counts = generator.integers(low, high, (48, 64)).astype(np.uint16 if encoding == "mono16" else np.uint8)
        stamp_ns = stamp(10) if index in (10, 11) else stamp(index) + int(generator.integers(-8, 8)) * MS
        received = stamp(index) + int(generator.integers(15, 30)) * MS
        messages.append(Message(TOPICS["thermal"], stamp_ns, counts, received, encoding))
    messages.sort(key=lambda message: message.received_ns or 0)
    return write_bag(path, messages)


# A dropped thermal frame changes the smoothed scaling of later 16-bit images: with these none may be dropped.
@pytest.mark.parametrize(("encoding", "rgb_stops"), [("mono16", False), ("mono8", True)])
def test_the_nodes_own_code_publishes_the_boxes_of_the_offline_path_though_the_bag_has_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, rgb_stops: bool
) -> None:
    seed = 17
    path = small_model(tmp_path, (96, 64))
    metadata = read_metadata(path)[1]
    # With the threshold this low the network finds boxes in noise.
    thresholds = Thresholds(score_threshold=0.001, max_detections=20)

    def predictor() -> Predictor:
        return Predictor.from_checkpoint(path, "cpu", "fp32", thresholds=thresholds, stream=True)

    bag_path = faulty_bag(tmp_path / "bag", np.random.default_rng(seed), encoding=encoding, rgb_stops=rgb_stops)
    with Bag(bag_path) as bag:
        collected = collect_predictions(
            bag, predictor(), PredictionOptions(TOPICS, thresholds, limits=PairingLimits(timeout_ns=200 * MS))
        )
        received = [(message.recorded_ns, message.topic, message.data) for message in bag.messages()]
    offline = {frame.record.stamp_ns: frame for frame in collected.frames if frame.published is not None}

    start_ns = received[0][0] - SECOND
    parameters: dict[str, Any] = {"pairing.timeout_sec": 0.2}
    detector = SimulatedDetector(
        monkeypatch,
        make_predictor=lambda world: PassingTime(predictor(), world),
        node_ns=start_ns,
        **parameters,
    )
    arrays: list[Any] = []
    detector.world.published["detections"].append(arrays.append)
    begin_ns = detector.world.steady_ns
    for recorded_ns, topic, data in received:
        camera = Camera.RGB if topic == TOPICS["rgb"] else Camera.THERMAL
        message = deserialize_message(bytes(data), Image)
        detector.world.at(
            begin_ns + recorded_ns - start_ns,
            lambda camera=camera, message=message: detector.receive(camera, message),  # type: ignore[misc]
        )
    detector.world.run_until(begin_ns + received[-1][0] - start_ns + 3 * SECOND)

    live = {stamp_ns_of(array): array for array in arrays}
    # Pairing gives up on a camera for several frames at once. Of these the node drops all but the last.
    results = sorted(offline.values(), key=lambda frame: (frame.released_ns or 0, frame.record.stamp_ns))
    kept = list({frame.released_ns: frame.record.stamp_ns for frame in results}.values())
    assert sorted(live) == sorted(kept) and len(live) == len(arrays) >= 8, f"seed {seed}"
    assert 0 < len(results) - len(kept) <= 10
    modes = {offline[stamp_ns].record.mode for stamp_ns in live}
    assert modes == {"fused", "rgb_only", *(["thermal_only"] if rgb_stops else [])}, f"seed {seed}: {modes}"
    # Otherwise equal boxes would say nothing: every frame has scores of its own.
    assert len({tuple(boxes_of(array)[1]) for array in arrays}) == len(live)
    for stamp_ns, array in live.items():
        boxes, scores, class_ids = boxes_of(array)
        published = offline[stamp_ns].published
        assert published is not None and len(boxes) == len(published) > 0, f"seed {seed}"
        np.testing.assert_allclose(boxes, published.boxes, atol=PX, err_msg=f"seed {seed}, stamp {stamp_ns}")
        np.testing.assert_allclose(scores, published.scores, atol=1e-6)
        assert class_ids == [metadata.class_names[label] for label in published.labels]


def test_over_dds_the_shipped_weights_score_as_they_do_offline(tmp_path: Path) -> None:
    source = tmp_path / "drive"
    record_scene(source, RecordingOptions(frames_per_second=10.0), night=True, seed=2, seconds=0.6)
    checkpoint = small_model(tmp_path, (256, 192))
    # Slower on a busy machine, until the node drops no frame.
    for rate in (0.1, 0.05, 0.02):
        recording = tmp_path / f"live_{rate:g}"
        status = replay(source, recording, ReplayOptions(checkpoint, tmp_path, rate, parameters={"device": "cpu"}))
        if not status.rgb.dropped:
            break
    assert status.rgb.paired == status.thermal.paired == 6
    detector = DetectorOptions(checkpoint, device="cpu", threads=1)
    collected: list[CollectedBag] = []
    published: list[dict[int, Any]] = []

    def keep(bag: CollectedBag) -> None:
        published.append({frame.record.stamp_ns: frame.published for frame in bag.frames if frame.published})
        collected.append(bag)

    common = {"ground_truth": "/ground_truth", "protocol": "published"}
    offline_options = BagEvaluationOptions(detector=detector, **common)  # type: ignore[arg-type]
    recorded_options = BagEvaluationOptions(
        detections="/detections",
        detections_bag=recording,
        **common,  # type: ignore[arg-type]
    )
    reports = [
        evaluate_bag(source, options, load_predictor=lambda: load_predictor(offline_options), on_collected=keep).report
        for options in (offline_options, recorded_options)
    ]
    offline, live = published
    assert sorted(offline) == sorted(live) and len(live) == 6
    assert sum(len(detections) for detections in live.values()) > 3
    for stamp_ns, detections in live.items():
        np.testing.assert_allclose(detections.boxes, offline[stamp_ns].boxes, atol=PX)
        names = [
            [bag.class_names[label] for label in found[stamp_ns].labels]
            for bag, found in zip(collected, published, strict=True)
        ]
        assert names[0] == names[1]
    first, second = (report["accuracy"] for report in reports)
    assert first is not None and second is not None and first["overall"]["mAP50"]
    for key in ("mAP", "mAP50", "mAP75", "precision", "recall"):
        assert second["overall"][key] == pytest.approx(first["overall"][key], abs=1e-4), key
    assert second["recall_all_frames"]["overall"] == first["recall_all_frames"]["overall"]
    assert reports[0]["modes"] == reports[1]["modes"]
