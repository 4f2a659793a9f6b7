# SPDX-License-Identifier: Apache-2.0
"""The node over real DDS while its cameras stall, lie and disagree: one process meets all faults in turn."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("rclpy")

from detector_graph import ERROR, WARN, DetectorProcess, Graph, running_detector, wait_until
from ros_cameras import Cameras
from sensor_msgs.msg import Image
from stand_in_detector import BOX, EXHAUST_MEMORY, RAISE

from fusion_mamba_ros.msg import FusionStatus
from fusion_mamba_ros.ros.detector.message_conversion import to_nanoseconds
from fusion_mamba_ros.streams.frames import Camera

THERMAL_LAG_NS = 1_000_000


class System:
    """Node, cameras and observer; every array that comes out is held against what went in."""

    def __init__(self, detector: DetectorProcess, graph: Graph) -> None:
        self.detector = detector
        self.graph = graph
        self.cameras = Cameras(graph)
        self.steps_back = 0

    def modes_since(self, start: int) -> list[str]:
        """Return the modes of the arrays after number ``start``."""
        return [status.mode for status in self.graph.statuses[start:] if status.mode != "none"]

    def wait_for_mode(self, mode: str, *, count: int = 3) -> None:
        """Wait until ``count`` arrays in a row come in ``mode``."""
        start = len(self.graph.statuses)
        wait_until(lambda: self.modes_since(start)[-count:] == [mode] * count, f"{count} arrays in mode {mode}")

    def status_after(self, condition: Callable[[FusionStatus], bool], what: str) -> None:
        """Wait until the newest status meets ``condition``."""
        wait_until(lambda: self.graph.statuses and condition(self.graph.statuses[-1]), what)

    def arrays_since(self, start: int, *, count: int = 1) -> list[Any]:
        """Return the arrays after number ``start``, once there are ``count``."""
        wait_until(lambda: len(self.graph.arrays) >= start + count, f"{count} arrays")
        return self.graph.arrays[start:]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    log = tmp_path_factory.mktemp("faults") / "detector.log"
    with running_detector(log, "checkpoint:=stand-in", "pairing.timeout_sec:=0.3") as (detector, graph):
        system = System(detector, graph)
        yield system
        system.cameras.close()


@pytest.fixture(autouse=True)
def well_before_and_after(system: System) -> Iterator[None]:
    """Each fault finds and leaves a node that pairs, invents no stamp and loses no frame."""
    system.wait_for_mode("fused")
    start = len(system.graph.arrays) - 1
    system.steps_back = 0
    yield
    cameras = system.cameras
    cameras.running = dict.fromkeys(Camera, True)
    cameras.zero_stamp = dict.fromkeys(Camera, False)
    cameras.frozen, cameras.first_pixel = False, 0
    cameras.spoil = lambda camera, message: message
    system.wait_for_mode("fused")
    assert system.detector.process.poll() is None, system.detector.log
    system.graph.counters_add_up()
    _check_stamps(system, start)


def _check_stamps(system: System, start: int) -> None:
    arrays = list(system.graph.arrays[start:])
    rgb = set(system.cameras.sent[Camera.RGB])
    thermal = set(system.cameras.sent[Camera.THERMAL])
    modes = {to_nanoseconds(status.header.stamp): status.mode for status in list(system.graph.statuses)}
    for array in arrays:
        stamp_ns = to_nanoseconds(array.header.stamp)
        assert array.header.frame_id == "rgb_camera"
        assert stamp_ns in (thermal if modes.get(stamp_ns) == "thermal_only" else rgb)
        assert all(detection.header == array.header for detection in array.detections)
    stamps = [to_nanoseconds(array.header.stamp) for array in arrays]
    # Stamps increase, but for the steps back that a test makes the cameras take.
    assert sum(b <= a for a, b in itertools.pairwise(stamps)) == system.steps_back


def test_healthy_cameras_give_one_array_per_pair_with_the_rgb_header(system: System) -> None:
    start = len(system.graph.arrays)
    array = system.arrays_since(start, count=5)[-1]
    (detection,) = array.detections
    assert detection.results[0].hypothesis.class_id == "person"
    assert detection.bbox.center.position.x == pytest.approx((BOX[0] + BOX[2]) / 2)
    assert detection.bbox.size_y == pytest.approx(BOX[3] - BOX[1])
    status = system.graph.counters_add_up()
    assert status.pair_offset_sec == pytest.approx(THERMAL_LAG_NS * 1e-9)
    assert 0 < status.age_sec < 10


def test_thermal_stops_for_three_seconds_and_returns(system: System) -> None:
    system.cameras.running[Camera.THERMAL] = False
    system.wait_for_mode("rgb_only")
    start = len(system.graph.arrays)
    time.sleep(2.5)
    assert len(system.graph.arrays) > start
    system.graph.wait_for_health("cameras", WARN, "thermal is missing: nothing arrives")


def test_frozen_thermal_image_is_not_used(system: System) -> None:
    system.cameras.frozen = True
    system.wait_for_mode("rgb_only")
    system.wait_for_mode("rgb_only")
    system.graph.wait_for_health("cameras", WARN, "thermal is missing: its image is frozen")


def test_rgb_stops_and_thermal_goes_on_with_its_own_stamps(system: System) -> None:
    system.cameras.running[Camera.RGB] = False
    system.wait_for_mode("thermal_only")


def test_both_cameras_stop(system: System) -> None:
    system.cameras.running = dict.fromkeys(Camera, False)
    system.status_after(lambda status: status.mode == "none", "a status without array")
    count = len(system.graph.arrays)
    system.graph.wait_for_health("cameras", ERROR, "no camera delivers fresh images")
    assert len(system.graph.arrays) == count


def test_a_stamp_from_the_future_is_refused(system: System) -> None:
    before = system.graph.counters_add_up().rgb.refused
    pending = [1]

    def one_in_an_hour(camera: Camera, message: Image) -> Image:
        if camera is Camera.RGB and pending:
            pending.pop()
            message.header.stamp.sec += 3600
        return message

    system.cameras.spoil = one_in_an_hour
    system.status_after(lambda status: status.rgb.refused == before + 1, "one refused frame")
    latest = max(to_nanoseconds(array.header.stamp) for array in system.graph.arrays)
    assert latest < max(system.cameras.sent[Camera.RGB]) - 1000 * 10**9


def test_zero_stamps_are_refused_and_counted(system: System) -> None:
    before = system.graph.counters_add_up().thermal.refused
    system.cameras.zero_stamp[Camera.THERMAL] = True
    system.wait_for_mode("rgb_only")
    assert system.graph.counters_add_up().thermal.refused > before
    assert "its stamp is zero or negative" in system.detector.log
    system.graph.wait_for_health("cameras", WARN, "thermal images refused: its stamp is zero or negative")
    system.graph.wait_for_health("cameras", WARN, "thermal is missing: its images are refused")


def test_a_bag_that_loops_is_followed(system: System) -> None:
    start = len(system.graph.arrays)
    system.steps_back = 1
    system.cameras.shift_ns -= 60 * 10**9
    wait_until(
        lambda: any(to_nanoseconds(a.header.stamp) < time.time_ns() - 50 * 10**9 for a in system.graph.arrays[start:]),
        "arrays with the stamps of the second round",
    )
    system.wait_for_mode("fused")


def test_a_step_of_the_cameras_clock_ahead_is_followed(system: System) -> None:
    start = len(system.graph.arrays)
    system.cameras.shift_ns += 30 * 10**9
    wanted_ns = time.time_ns() + system.cameras.shift_ns
    wait_until(
        lambda: any(to_nanoseconds(a.header.stamp) >= wanted_ns for a in system.graph.arrays[start:]),
        "arrays with the new stamps",
    )


def test_corrupt_images_are_refused_one_by_one(system: System) -> None:
    before = {camera: getattr(system.graph.counters_add_up(), camera.value).refused for camera in Camera}
    spoilt = dict.fromkeys(Camera, 0)
    seen = [0]

    def one_in_twenty(camera: Camera, message: Image) -> Image:
        seen[0] += 1
        if seen[0] % 20:
            return message
        spoilt[camera] += 1
        kind = seen[0] // 20 % 4
        if kind == 0:
            message.data = message.data[: len(message.data) // 2]
        elif kind == 1:
            message.step = 3
        elif kind == 2:
            message.width = 0
        else:
            message.encoding = "no such encoding"
        return message

    system.cameras.spoil = one_in_twenty
    wait_until(lambda: seen[0] >= 200, "ten corrupt images")
    system.cameras.spoil = lambda camera, message: message
    total = sum(spoilt.values())
    system.status_after(
        lambda status: status.rgb.refused + status.thermal.refused == sum(before.values()) + total,
        f"{total} refused frames",
    )


def test_an_encoding_that_changes_to_nonsense_costs_that_camera_only(system: System) -> None:
    def rename(camera: Camera, message: Image) -> Image:
        if camera is Camera.THERMAL:
            message.encoding = "32FC7"
        return message

    system.cameras.spoil = rename
    system.wait_for_mode("rgb_only")
    assert "image encoding '32FC7' is not supported" in system.detector.log
    system.graph.wait_for_health("cameras", WARN, "thermal images refused: image encoding '32FC7' is not supported")


def test_the_resolution_may_change_in_mid_stream(system: System) -> None:
    system.cameras.sizes = {Camera.RGB: (96, 128), Camera.THERMAL: (30, 40)}
    system.wait_for_mode("fused", count=10)


@pytest.mark.parametrize("reliable", [False, True])
def test_publishers_restart_with_another_qos(system: System, reliable: bool) -> None:
    system.cameras.reopen(reliable=reliable)
    system.wait_for_mode("fused", count=10)
    policy = "reliable" if reliable else "best_effort"
    wait_until(lambda: f"thermal/image_raw: publisher offers {policy}" in system.detector.log, f"QoS {policy}")


def test_an_inference_that_raises_costs_its_frame_only(system: System) -> None:
    before = system.graph.counters_add_up().rgb.failed
    system.cameras.first_pixel = RAISE
    system.status_after(lambda status: status.rgb.failed >= before + 3, "failed frames")
    system.graph.wait_for_health("inference", ERROR, "the stand-in was asked to fail")
    assert "the frame is lost" in system.detector.log


def test_running_out_of_memory_is_reported_and_survived(system: System) -> None:
    before = system.graph.counters_add_up().rgb.failed
    system.cameras.first_pixel = EXHAUST_MEMORY
    system.status_after(lambda status: status.rgb.failed > before, "a failed frame")
    system.graph.wait_for_health("inference", ERROR, "out of memory")
