# SPDX-License-Identifier: Apache-2.0
"""The report of a replay: numbers, faults and drawn frames."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import pytest

from fusion_mamba_ros.bags.bag_reading import BagError
from fusion_mamba_ros.bags.bag_writing import ImageBagWriter
from fusion_mamba_ros.evaluation.replay_report import (
    PublishedArray,
    RecordedReplay,
    ThermalView,
    draw_replay,
    read_recording,
    summarise,
)
from fusion_mamba_ros.perception.detections import Detections, Mode
from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling

TOPICS: dict[str, Any] = {"rgb_topic": "/rgb/image_raw", "thermal_topic": "/thermal/image_raw"}
START_NS, PERIOD_NS = 10**9, 10**8


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return cameras(tmp_path / "cameras")


def cameras(path: Path, *, thermal_clock_ns: int = 0) -> Path:
    bag = ImageBagWriter(
        path,
        topics={"rgb": TOPICS["rgb_topic"], "thermal": TOPICS["thermal_topic"]},
        frame_ids={"rgb": "rgb", "thermal": "thermal"},
    )
    for index in range(4):
        bag.write_image("rgb", START_NS + index * PERIOD_NS, np.full((48, 64, 3), 40 * index, np.uint8))
        thermal_ns = START_NS + index * PERIOD_NS + thermal_clock_ns
        bag.write_image("thermal", thermal_ns, np.full((30, 40), 200 - 40 * index, np.uint8))
    bag.close()
    return path


def array(index: int, boxes: int = 1, frame_id: str = "rgb", mode: Mode = Mode.FUSED) -> PublishedArray:
    detections = Detections(
        np.tile(np.array([[5, 5, 30, 40]], np.float32), (boxes, 1)),
        np.linspace(0.9, 0.5, boxes, dtype=np.float32),
        np.zeros(boxes, np.int64),
        mode,
    )
    return PublishedArray(START_NS + index * PERIOD_NS, frame_id, detections)


COUNTERS = ("received", "paired", "alone", "unpaired", "late", "refused", "dropped", "failed", "waiting")


def camera_counters(**counts: int) -> SimpleNamespace:
    return SimpleNamespace(**(dict.fromkeys(COUNTERS, 0) | counts))


def recording(*arrays: PublishedArray, ages_sec: Sequence[float] = (), **changed: Any) -> RecordedReplay:
    counts = {name: camera_counters(received=4, paired=3, dropped=1) for name in ("rgb", "thermal")} | changed
    statuses = [
        SimpleNamespace(mode="fused", age_sec=age, inference_ms=7.0, published=len(arrays), **counts)
        for age in ages_sec or (0.05,)
    ]
    return RecordedReplay(tuple(arrays), ("person", "car"), tuple(statuses))


def test_numbers_are_those_of_the_bags(source: Path) -> None:
    ages_sec = (0.010, 0.020, 0.030)
    summary = summarise(source, recording(array(0), array(1, boxes=2), array(3, boxes=0), ages_sec=ages_sec), **TOPICS)
    assert (summary["frames_rgb"], summary["frames_thermal"], summary["pairs"]) == (4, 4, 3)
    assert (summary["published"], summary["detections"]) == (3, 3)
    assert summary["detections_by_class"] == {"person": 3}
    # Linear between the sorted values: 20 ms in the middle, 29 ms at 95 percent.
    assert summary["latency_ms"] == {"p50": 20.0, "p95": 29.0}
    assert summary["lost_in_transport"] == {"rgb": 0, "thermal": 0}
    assert summary["faults"] == []


@pytest.mark.parametrize(
    ("arrays", "changed", "sentence"),
    [
        ((array(1), array(0)), {}, "stamps of the arrays do not strictly increase"),
        ((array(1), array(1)), {}, "stamps of the arrays do not strictly increase"),
        ((array(cast(int, 0.5)),), {}, "1 arrays carry a header that no RGB frame of the bag has"),
        ((array(0, frame_id="thermal"),), {}, "1 arrays carry a header that no RGB frame of the bag has"),
        ((array(0),), {"rgb": camera_counters(received=4, paired=3)}, "rgb: 4 frames received, 3 accounted for"),
    ],
)
def test_what_a_node_must_never_do_is_a_fault(
    source: Path, arrays: tuple[PublishedArray, ...], changed: dict[str, Any], sentence: str
) -> None:
    arrays = tuple(PublishedArray(int(a.stamp_ns), a.frame_id, a.detections) for a in arrays)
    assert summarise(source, recording(*arrays, **changed), **TOPICS)["faults"] == [sentence]


def test_lost_frames_are_counted(source: Path) -> None:
    short = camera_counters(received=3, paired=3)
    summary = summarise(source, recording(array(0), rgb=short), **TOPICS)
    assert summary["lost_in_transport"] == {"rgb": 1, "thermal": 0}


def test_every_mode_is_drawn(source: Path, tmp_path: Path) -> None:
    arrays = (array(0), array(1, mode=Mode.RGB_ONLY), array(2, mode=Mode.THERMAL_ONLY))
    written = draw_replay(source, recording(*arrays), tmp_path, rate_hz=10, **TOPICS)
    assert {path.name for path in written} == {"annotated.mp4", "contact_sheet.png"}


def test_array_is_drawn_once_if_two_images_have_its_stamp(tmp_path: Path) -> None:
    path = tmp_path / "cameras"
    bag = ImageBagWriter(
        path,
        topics={"rgb": TOPICS["rgb_topic"], "thermal": TOPICS["thermal_topic"]},
        frame_ids={"rgb": "rgb", "thermal": "thermal"},
    )
    for stamp_ns in (START_NS, START_NS, START_NS + PERIOD_NS):
        bag.write_image("rgb", stamp_ns, np.zeros((48, 64, 3), np.uint8))
        bag.write_image("thermal", stamp_ns, np.zeros((30, 40), np.uint8))
    bag.close()
    replay = recording(array(0, mode=Mode.RGB_ONLY), array(1, mode=Mode.RGB_ONLY))
    draw_replay(path, replay, tmp_path, rate_hz=10, **TOPICS)
    assert len(thermal_panels(tmp_path)) == 2


def test_recording_without_a_status_is_refused(source: Path) -> None:
    with pytest.raises(BagError, match="has no messages on topic '/detector_node/status'"):
        read_recording(source)


def thermal_panels(folder: Path) -> list[np.ndarray]:
    """Return the right halves of the annotated video, grey, without the banner."""
    video = cv2.VideoCapture(str(folder / "annotated.mp4"))
    frames = []
    while (read := video.read())[0]:
        frames.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2GRAY)[-48:, -64:])
    return frames


def test_thermal_is_drawn_as_the_node_saw_it(tmp_path: Path) -> None:
    # The thermal clock is 250 ms ahead, the second pair one period apart.
    path = cameras(tmp_path / "cameras", thermal_clock_ns=250_000_000)
    arrays = (
        dataclasses.replace(array(0, boxes=0), pair_offset_ns=0),
        dataclasses.replace(array(1, boxes=0), pair_offset_ns=PERIOD_NS),
        array(3, boxes=0, mode=Mode.THERMAL_ONLY),
    )
    right_half = np.array([[0.5, 0, 0.5], [0, 1, 0], [0, 0, 1]])
    view = ThermalView(homography=right_half, scaling=ThermalScaling(polarity="black_hot"), offset_sec=-0.25)
    draw_replay(path, recording(*arrays), tmp_path, rate_hz=10, view=view, **TOPICS)
    panels = thermal_panels(tmp_path)
    levels = [float(panel[24, 48]) for panel in panels]
    assert levels == pytest.approx([255 - 200, 255 - 120, 255 - 80], abs=6)
    assert [float(panel[24, 12]) for panel in panels] == pytest.approx([114] * 3, abs=6)
