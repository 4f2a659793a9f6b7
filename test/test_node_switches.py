# SPDX-License-Identifier: Apache-2.0
"""Switches that are off by default: tracking, pairing by arrival time, and RGB watched for frozen images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from fault_run import FaultRun
from fault_scenarios import draw_scenario
from ros_cameras import image_message
from simulated_node import SimulatedDetector, numbered_pixels
from simulated_world import MS, SECOND

from fusion_mamba_ros.perception.detections import Detections, Mode
from fusion_mamba_ros.ros.detector.message_conversion import to_nanoseconds, to_stamp
from fusion_mamba_ros.streams.frames import Camera

PERIOD_NS = 50 * MS
OK, WARN, ERROR = b"\x00", b"\x01", b"\x02"


class Run:
    """A simulated node with its arrays, statuses and diagnostics, and two cameras of 20 Hz."""

    def __init__(self, patch: pytest.MonkeyPatch, **parameters: Any) -> None:
        self.detector = SimulatedDetector(patch, **parameters)
        self.world = self.detector.world
        self.arrays: list[Any] = []
        self.statuses: list[Any] = []
        self.health: dict[str, Any] = {}
        self.world.published["detections"].append(self.arrays.append)
        self.world.published["~/status"].append(self.statuses.append)
        self.world.published["/diagnostics"].append(self._on_diagnostics)
        self._number = 0

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            self.health[status.name.rsplit(": ")[-1]] = status

    def play(
        self,
        seconds: float,
        *,
        frozen: tuple[Camera, ...] = (),
        silent: tuple[Camera, ...] = (),
        stamp: Callable[[int], int] = lambda now_ns: now_ns,
        delay_ns: Callable[[Camera], int] = lambda camera: 5 * MS,
    ) -> None:
        """Let both cameras send for a while. ``stamp`` maps the time of an image to its stamp."""
        world, start_ns = self.world, self.world.steady_ns
        for step in range(int(seconds * SECOND) // PERIOD_NS):
            self._number += 1
            for camera in Camera:
                if camera in silent:
                    continue
                taken_ns = step * PERIOD_NS
                number = 1 if camera in frozen else 2 + self._number
                message = image_message(camera, pixels_of(camera, number))
                message.header.stamp = to_stamp(stamp(world.node_ns + taken_ns))
                world.at(
                    start_ns + taken_ns + delay_ns(camera),
                    partial(self.detector.receive, camera, message),
                )
        world.run_until(start_ns + int(seconds * SECOND))

    def modes(self, since: int = 0) -> list[str]:
        return [status.mode for status in self.statuses[since:]]


def pixels_of(camera: Camera, number: int) -> np.ndarray:
    pixels = numbered_pixels(camera, number)
    return pixels if camera is Camera.THERMAL else np.ascontiguousarray(pixels[..., :3])


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def start(**parameters: Any) -> Run:
        runs.append(Run(monkeypatch, **parameters))
        return runs[-1]

    yield start
    for each in runs:
        each.detector.session.close()


def test_frozen_rgb_counts_as_missing_where_it_is_watched(run: Callable[..., Run]) -> None:
    node = run(**{"rgb.freeze_timeout_sec": 0.4})
    node.play(2.0)
    assert set(node.modes()[2:]) == {"fused"}
    node.play(3.0, frozen=(Camera.RGB,))
    assert node.modes()[-1] == "thermal_only"
    assert node.health["cameras"].level == WARN
    assert "rgb is missing: its image is frozen" in node.health["cameras"].message
    node.play(2.0)
    assert node.modes()[-1] == "fused"


def test_frozen_rgb_goes_on_where_it_is_not_watched(run: Callable[..., Run]) -> None:
    node = run()
    node.play(1.0)
    node.play(3.0, frozen=(Camera.RGB,))
    assert set(node.modes()[2:]) == {"fused"}
    assert node.health["cameras"].level == OK


@pytest.mark.parametrize(
    ("frozen", "silent", "reason"),
    [
        (tuple(Camera), (), "thermal is missing: its image is frozen"),
        ((Camera.RGB,), (Camera.THERMAL,), "thermal is missing: nothing arrives"),
    ],
)
def test_frozen_rgb_and_no_thermal_gives_no_array_until_one_is_back(
    run: Callable[..., Run], frozen: tuple[Camera, ...], silent: tuple[Camera, ...], reason: str
) -> None:
    node = run(**{"rgb.freeze_timeout_sec": 0.4})
    node.play(1.0)
    node.play(2.0, frozen=frozen, silent=silent)
    count = len(node.arrays)
    node.play(2.0, frozen=frozen, silent=silent)
    assert len(node.arrays) == count
    assert node.health["cameras"].level == ERROR
    for words in ("rgb is missing: its image is frozen", reason):
        assert words in node.health["cameras"].message
    node.play(1.0, silent=silent)
    assert node.modes()[-1] == ("rgb_only" if silent else "fused")


def test_images_without_stamps_are_paired_by_arrival(run: Callable[..., Run]) -> None:
    node = run(**{"pairing.use_arrival_time": True})
    began_ns = node.world.node_ns
    node.play(2.0, stamp=lambda now_ns: 0)
    assert set(node.modes()) == {"fused"}
    counters = node.statuses[-1]
    assert counters.rgb.refused == counters.thermal.refused == 0
    stamps = [to_nanoseconds(array.header.stamp) for array in node.arrays]
    assert stamps == sorted(set(stamps))
    assert stamps[0] == began_ns + 5 * MS  # The arrival of the first image.
    assert {array.header.frame_id for array in node.arrays} == {"rgb_camera"}


def test_stamps_do_not_matter_where_arrival_is_used(run: Callable[..., Run]) -> None:
    node = run(**{"pairing.use_arrival_time": True})
    stamps = iter(np.random.default_rng(0).integers(0, 2**31 - 1, 1000).tolist())
    node.play(2.0, stamp=lambda now_ns: next(stamps) * SECOND)
    assert set(node.modes()) == {"fused"}
    assert node.detector.session.clock_jumps() == 0


def test_images_without_stamps_are_refused_without_the_switch(run: Callable[..., Run]) -> None:
    node = run()
    node.play(2.0, stamp=lambda now_ns: 0)
    assert node.arrays == []
    assert "its stamp is zero or negative" in node.health["cameras"].message


def test_arrival_times_and_a_frozen_and_a_silent_camera(run: Callable[..., Run]) -> None:
    node = run(**{"pairing.use_arrival_time": True, "rgb.freeze_timeout_sec": 0.4, "tracking": True})
    node.play(1.0, stamp=lambda now_ns: 0)
    node.play(2.0, stamp=lambda now_ns: 0, frozen=(Camera.RGB,))
    assert node.modes()[-1] == "thermal_only"
    node.play(2.0, stamp=lambda now_ns: 0, silent=(Camera.THERMAL,))
    assert node.modes()[-1] == "rgb_only"
    stamps = [to_nanoseconds(array.header.stamp) for array in node.arrays]
    assert stamps == sorted(set(stamps))


def one_object(run: Run, scores: Callable[[int], list[float]]) -> None:
    """Let the predictor see one object that moves slowly, with the scores of the n-th inference."""
    count = 0

    def predict(images: Any, *, reference_size: Any = None) -> Detections:
        nonlocal count
        values = np.array(scores(count), np.float32)
        boxes = np.tile(np.array([[100 + count, 50, 140 + count, 150]], np.float32), (len(values), 1))
        boxes += 300 * np.arange(len(values), dtype=np.float32)[:, None]
        count += 1
        mode = Mode.FUSED if len(images) == 2 else Mode.RGB_ONLY if "rgb" in images else Mode.THERMAL_ONLY
        return Detections(boxes, values, np.zeros(len(values), np.int64), mode)

    run.detector.predictor.predict = predict


def test_an_object_keeps_its_id_over_twenty_changes_of_mode(run: Callable[..., Run]) -> None:
    node = run(tracking=True)
    one_object(node, lambda number: [0.9])
    node.play(1.0)
    for number in range(10):
        missing = (Camera.THERMAL,) if number % 2 else (Camera.RGB,)
        if number % 3:
            node.play(1.2, silent=missing)
        else:
            node.play(1.2, frozen=(Camera.THERMAL,))
        node.play(0.8)
    modes = node.modes()
    assert sum(before != after for before, after in pairwise(modes)) >= 20
    assert {array.detections[0].id for array in node.arrays[1:]} == {"1"}


def test_weak_detections_continue_a_track_and_are_not_published(run: Callable[..., Run]) -> None:
    node = run(tracking=True)
    one_object(node, lambda number: [0.9, 0.12] if number % 5 < 3 else [0.15])
    node.play(2.0)
    sizes = {len(array.detections) for array in node.arrays}
    assert sizes == {0, 1}
    ids = [detection.id for array in node.arrays for detection in array.detections]
    assert ids[0] == ""
    assert set(ids[1:]) == {"1"}


def test_ids_stay_empty_without_tracking_and_boxes_are_the_same(run: Callable[..., Run]) -> None:
    published = []
    for tracking in (False, True):
        node = run(tracking=tracking)
        one_object(node, lambda number: [0.9, 0.5])
        node.play(1.0)
        published.append(node.arrays)
    off, on = published
    assert {detection.id for array in off for detection in array.detections} == {""}
    assert {detection.id for array in on[1:] for detection in array.detections} == {"1", "2"}
    for before, after in zip(off, on, strict=True):
        for detection in after.detections:
            detection.id = ""
        assert before == after


@pytest.mark.parametrize("seed", range(1, 13))
def test_combinations_of_faults_with_tracking(seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        FaultRun(draw_scenario(seed), patch, tracking=True).run()
