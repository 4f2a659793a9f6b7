# SPDX-License-Identifier: Apache-2.0
"""The node with a true checkpoint: what it publishes is what the predictor finds in the same images."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

import torch
from detector_graph import DetectorProcess, Graph, isolate, wait_until
from lifecycle_msgs.msg import Transition
from ros_cameras import image_message
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

from fusion_mamba_ros.network import FusionMamba, FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from fusion_mamba_ros.perception.predictor import Predictor, Thresholds
from fusion_mamba_ros.ros.detector.message_conversion import to_stamp
from fusion_mamba_ros.streams.frames import Camera

RUN = "from fusion_mamba_ros.ros.detector.detector_node import main; main()"
CLASSES = ("person", "bicycle", "car")
THRESHOLD = 0.002


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    model = FusionMambaDetector(ModelConfig(classes=len(CLASSES), operator=FusionMamba(dssf_count=1), levels=(5,)))
    with torch.no_grad():
        for weight in model.parameters():
            # So far from a new network that boxes differ in place, size and class.
            if weight.ndim > 1:
                weight.add_(0.1 * torch.randn_like(weight))
    path = tmp_path / "small.safetensors"
    save_checkpoint(path, model, CheckpointMetadata(CLASSES, (160, 128)))
    return path


def fused_array(graph: Graph) -> Detection2DArray | None:
    """Return the first array of a pair, as soon as its status has come too."""
    fused = [status.header.stamp for status in list(graph.statuses) if status.mode == "fused"]
    return next((array for array in list(graph.arrays) if array.header.stamp in fused), None)


def test_the_node_publishes_what_the_predictor_finds(checkpoint: Path, tmp_path: Path) -> None:
    isolate()
    generator = np.random.default_rng(5)
    rgb = generator.integers(0, 255, (120, 160, 3), dtype=np.uint8)
    thermal = generator.integers(20_000, 40_000, (128, 160), dtype=np.uint16)
    predictor = Predictor.from_checkpoint(
        checkpoint, device="cpu", thresholds=Thresholds(score_threshold=THRESHOLD, max_detections=50)
    )
    expected = predictor.predict({"rgb": rgb, "thermal": thermal})
    assert len(expected) >= 5

    parameters = (f"checkpoint:={checkpoint}", f"score_threshold:={THRESHOLD}", "max_detections:=50", "device:=cpu")
    detector = DetectorProcess(["-c", RUN], tmp_path / "log", *parameters)
    graph = Graph()
    images: list[Image] = []
    graph.node.create_subscription(Image, "debug_image", images.append, 10)
    publishers = {camera: graph.node.create_publisher(Image, f"{camera.value}/image_raw", 10) for camera in Camera}
    try:
        graph.activate()
        wait_until(lambda: all(p.get_subscription_count() for p in publishers.values()), "subscriptions")
        sent = [1_700_000_000 * 10**9 + number * 10**8 for number in range(6)]
        for stamp_ns in sent:
            for camera, pixels in ((Camera.RGB, rgb), (Camera.THERMAL, thermal)):
                message = image_message(camera, pixels)
                message.header.stamp = to_stamp(stamp_ns + (camera is Camera.THERMAL) * 2_000_000)
                publishers[camera].publish(message)
            time.sleep(0.1)
        array = wait_until(lambda: fused_array(graph), "an array of a pair")
        wait_until(lambda: images, "an image")
        assert array.header.frame_id == "rgb_camera"
        assert array.header.stamp in [to_stamp(stamp_ns) for stamp_ns in sent]
        boxes = [
            (d.bbox.center.position.x, d.bbox.center.position.y, d.bbox.size_x, d.bbox.size_y) for d in array.detections
        ]
        x1, y1, x2, y2 = expected.boxes.astype(np.float64).T
        np.testing.assert_allclose(boxes, np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], axis=1), atol=0.05)
        hypotheses = [d.results[0].hypothesis for d in array.detections]
        np.testing.assert_allclose([h.score for h in hypotheses], expected.scores, atol=1e-4)
        assert [h.class_id for h in hypotheses] == [CLASSES[label] for label in expected.labels]
        assert images[0].encoding == "rgb8"
        assert images[0].width * images[0].height > 2 * 160 * 120

        assert graph.transition(Transition.TRANSITION_DEACTIVATE)
        assert graph.transition(Transition.TRANSITION_CLEANUP)
        assert detector.stop() == 0
    finally:
        graph.close()
        detector.kill()


@pytest.mark.parametrize("fault", ["missing", "corrupt", "of another model", "not finite"])
def test_a_bad_checkpoint_leaves_the_node_unconfigured_with_one_sentence(
    checkpoint: Path, tmp_path: Path, fault: str
) -> None:
    import rclpy
    from rclpy.context import Context
    from rclpy.lifecycle import TransitionCallbackReturn
    from rclpy.parameter import Parameter

    from fusion_mamba_ros.ros.detector.detector_node import DetectorNode

    bad = tmp_path / "bad.safetensors"
    if fault == "corrupt":
        bad.write_bytes(checkpoint.read_bytes()[:5000])
    elif fault == "of another model":
        from safetensors.torch import save_file

        save_file({"weight": torch.zeros(3)}, bad)
    elif fault == "not finite":
        model, metadata = load_checkpoint(checkpoint)
        with torch.no_grad():
            branches: Any = model.head.class_branches
            branches[0][-1].bias[0] = float("nan")
        save_checkpoint(bad, model, metadata)
    isolate()
    context = Context()
    rclpy.init(context=context)
    node = DetectorNode(context=context, parameter_overrides=[Parameter("checkpoint", value=str(bad))])
    said: list[str] = []
    node.get_logger().error = lambda sentence, **_: said.append(sentence)
    try:
        assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
        (sentence,) = said
        assert sentence.startswith(f"configure failed: checkpoint '{bad}'")
        assert "\n" not in sentence
        (result,) = node.set_parameters([Parameter("checkpoint", value=str(checkpoint))])
        assert result.successful
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    finally:
        node.destroy_node()
        context.try_shutdown()
