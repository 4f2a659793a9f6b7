# SPDX-License-Identifier: Apache-2.0
"""What is drawn of a replay, from bags alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fusion_mamba_ros.evaluation import replay_report
from fusion_mamba_ros.evaluation.bag_writing import ImageBagWriter
from fusion_mamba_ros.evaluation.replay_report import PublishedArray, Recording, draw_replay
from fusion_mamba_ros.perception.detections import Detections, Mode

TOPICS = {"rgb_topic": "/rgb/image_raw", "thermal_topic": "/thermal/image_raw"}
RGB_SIZE, THERMAL_SIZE = (640, 480), (320, 256)
FAR_CORNER = np.array([[560, 400, 630, 470]], np.float32)  # beyond a picture of the thermal camera's size
SECOND = 10**9


@pytest.fixture
def source(tmp_path: Path) -> Path:
    bag = ImageBagWriter(
        tmp_path / "cameras",
        topics={"rgb": TOPICS["rgb_topic"], "thermal": TOPICS["thermal_topic"]},
        frame_ids={"rgb": "rgb_camera", "thermal": "thermal_camera"},
    )
    bag.write_picture("rgb", SECOND, np.zeros((*RGB_SIZE[::-1], 3), np.uint8))
    bag.write_picture("thermal", SECOND, np.zeros(THERMAL_SIZE[::-1], np.uint8))
    bag.close()
    return tmp_path / "cameras"


@pytest.mark.parametrize(
    ("frame_id", "size"), [("rgb_camera", RGB_SIZE), ("thermal_camera", THERMAL_SIZE)], ids=["rgb", "thermal"]
)
def test_a_lone_thermal_picture_is_drawn_at_the_size_its_boxes_are_meant_for(
    source: Path, frame_id: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    drawn = []
    monkeypatch.setattr(replay_report.AnnotationWriter, "add", lambda self, name, picture: drawn.append(picture))
    detections = Detections(FAR_CORNER, np.array([0.9], np.float32), np.array([0]), Mode.THERMAL_ONLY)
    recording = Recording((PublishedArray(SECOND, frame_id, detections),), ("person",), ())
    draw_replay(source, recording, tmp_path, rate_hz=10.0, **TOPICS)
    thermal_panel = drawn[0][-size[1] :, -size[0] :]
    assert 0 < drawn[0].shape[1] - 2 * size[0] < 20  # two panels and the gap between them
    # The panel is black: what is coloured in it is the box, which only the RGB camera's picture has room for.
    assert (thermal_panel[390:, 550:].max(initial=0) > 100) == (frame_id == "rgb_camera")
