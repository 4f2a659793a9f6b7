# SPDX-License-Identifier: Apache-2.0
"""camera_info on the node: which images are rectified, in whose pixels boxes are, and what diagnostics say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from fault_run import FaultRun
from fault_scenarios import draw_scenario
from sensor_msgs.msg import CameraInfo
from test_node_switches import OK, WARN, Run

from fusion_mamba_ros.perception.detections import Detections, Mode
from fusion_mamba_ros.perception.rectification import Rectification, calibration_from
from fusion_mamba_ros.ros.detector.camera_info import choose_topics
from fusion_mamba_ros.ros.detector.camera_rectification import CameraRectification, calibration_of
from fusion_mamba_ros.streams.frames import Camera

SIZE = (16, 24)
D = [-0.3, 0.05, 0.0, 0.0, 0.0]
BOX = np.array([[1, 2, 6, 9]], np.float32)


def camera_info(size: tuple[int, int] = SIZE, **changes: Any) -> CameraInfo:
    """A lens that distorts, for the images of the simulated cameras."""
    message = CameraInfo(width=size[0], height=size[1], distortion_model="plumb_bob", d=D)
    message.k = [15.0, 0.0, 8.0, 0.0, 15.0, 12.0, 0.0, 0.0, 1.0]
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def lens() -> Rectification:
    calibration = calibration_of(camera_info())
    assert calibration is not None
    return Rectification(calibration)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def start(**parameters: Any) -> Run:
        runs.append(Run(monkeypatch, **parameters))
        seen: list[dict[str, np.ndarray]] = []

        def predict(images: Any, *, reference_size: Any = None) -> Detections:
            seen.append(dict(images))
            mode = Mode.FUSED if len(images) == 2 else Mode.RGB_ONLY if "rgb" in images else Mode.THERMAL_ONLY
            return Detections(BOX.copy(), np.array([0.9], np.float32), np.zeros(1, np.int64), mode)

        predictor: Any = runs[-1].detector.predictor
        predictor.predict, predictor.seen = predict, seen
        return runs[-1]

    yield start
    for each in runs:
        each.detector.session.close()


def box_of(array: Any) -> np.ndarray:
    box = array.detections[0].bbox
    center = box.center.position
    half = box.size_x / 2, box.size_y / 2
    return np.array([center.x - half[0], center.y - half[1], center.x + half[0], center.y + half[1]])


def send(node: Run, camera: Camera, message: CameraInfo) -> None:
    node.world.subscribed[f"/{camera.value}/camera_info"](message)


def test_boxes_are_in_pixels_of_the_image_that_the_camera_sent(run: Callable[..., Run]) -> None:
    node = run()
    node.play(1.0)
    assert np.abs(box_of(node.arrays[-1]) - BOX[0]).max() < 1e-5
    send(node, Camera.RGB, camera_info())
    node.play(1.0)
    expected = lens().restored(Detections(BOX, np.ones(1, np.float32), np.zeros(1, np.int64))).boxes[0]
    assert np.abs(expected - BOX[0]).max() > 0.2, "the lens must move the box"
    assert np.abs(box_of(node.arrays[-1]) - expected).max() < 1e-4
    assert {value.key: value.value for value in node.health["cameras"].values}["rgb lens"] == "rectified: plumb_bob"
    # The virtual RGB image of a thermal-only array has the same lens.
    node.play(2.0, silent=(Camera.RGB,))
    assert node.modes()[-1] == "thermal_only"
    assert np.abs(box_of(node.arrays[-1]) - expected).max() < 1e-4


def test_boxes_of_thermal_before_any_rgb_image_are_in_pixels_of_the_thermal_image(run: Callable[..., Run]) -> None:
    node = run()
    send(node, Camera.THERMAL, camera_info())
    node.play(2.0, silent=(Camera.RGB,))
    expected = lens().restored(Detections(BOX, np.ones(1, np.float32), np.zeros(1, np.int64))).boxes[0]
    assert np.abs(box_of(node.arrays[-1]) - expected).max() < 1e-4
    node.play(1.0)
    assert node.modes()[-1] == "fused"
    assert np.abs(box_of(node.arrays[-1]) - BOX[0]).max() < 1e-5


def test_the_network_sees_rectified_images(run: Callable[..., Run]) -> None:
    node = run()
    node.play(1.0)
    node.detector.predictor.seen.clear()
    for camera in Camera:
        send(node, camera, camera_info())
    node.play(0.5)
    images = node.detector.predictor.seen[-1]
    number = int(images["thermal"][12, 8])
    raw = np.full((24, 16), number, np.uint16)
    assert (images["thermal"] == lens().rectify(raw)).all()
    # The corner of the rectified RGB image has no source.
    wide = camera_info(p=[5.0, 0, 8, 0, 0, 5, 12, 0, 0, 0, 1, 0])
    send(node, Camera.RGB, wide)
    node.play(0.5)
    assert node.detector.predictor.seen[-1]["rgb"][0, 0].tolist() == [114, 114, 114]


@pytest.mark.parametrize(
    "parameters_and_info",
    [
        ({}, None),
        ({"rectify": "off"}, None),
        ({}, {"d": [0.0] * 5}),
        ({}, {"d": []}),
        ({}, {"d": [], "k": [0.0] * 9, "width": 0, "height": 0, "distortion_model": ""}),
    ],
    ids=["no camera_info", "off", "zero D", "empty D", "uncalibrated"],
)
def test_without_distortion_everything_is_as_before(
    run: Callable[..., Run], parameters_and_info: tuple[dict[str, Any], dict[str, Any] | None]
) -> None:
    parameters, changes = parameters_and_info
    node = run(**parameters)
    if changes is not None:
        for camera in Camera:
            send(node, camera, camera_info(**changes))
    node.play(3.0)
    assert set(node.modes()[2:]) == {"fused"}
    assert all((box_of(array) == BOX[0]).all() for array in node.arrays)
    assert node.health["cameras"].level == OK and node.health["cameras"].message == "OK"


def test_nothing_is_subscribed_where_it_is_off(run: Callable[..., Run]) -> None:
    assert run(rectify="off").world.subscribed == {}
    assert run().world.subscribed.keys() == {"/rgb/camera_info", "/thermal/camera_info"}


@pytest.mark.parametrize(
    ("info", "words"),
    [
        (camera_info((640, 480)), "it is for 640x480 pixels, the image has 16x24"),
        (camera_info(d=[float("nan")] * 5), "D contains NaN or infinity"),
        (camera_info(d=[0.1] * 7), "D has 7 numbers: plumb_bob has 4 or 5"),
        (camera_info(k=[0.0] * 9), "K has the focal lengths 0 and 0"),
        (camera_info(distortion_model="kannala"), "distortion_model is 'kannala'"),
        (camera_info(d=[1e307] * 5), "to infinity"),
    ],
    ids=["size", "NaN", "length", "focal length", "model", "infinite"],
)
def test_a_camera_info_that_cannot_be_used_is_one_sentence_and_the_image_is_used(
    run: Callable[..., Run], info: CameraInfo, words: str
) -> None:
    node = run()
    node.play(1.0)
    send(node, Camera.THERMAL, info)
    node.play(3.0)
    status = node.health["cameras"]
    assert status.level == WARN
    assert status.message.startswith("thermal images are not rectified, camera_info cannot be used: ")
    assert words in status.message and "; " not in status.message
    assert set(node.modes()[2:]) == {"fused"}
    assert (node.detector.predictor.seen[-1]["thermal"] > 0).all()
    send(node, Camera.THERMAL, camera_info())
    node.play(2.0)
    assert node.health["cameras"].message == "OK"
    assert "rectified: plumb_bob" in [value.value for value in node.health["cameras"].values]


def test_maps_are_built_once_for_each_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    from fusion_mamba_ros.ros.detector import camera_rectification

    built: list[Any] = []

    def build(calibration: Any) -> Any:
        built.append(calibration)
        return SimpleNamespace(calibration=calibration)

    monkeypatch.setattr(camera_rectification, "Rectification", build)
    camera = CameraRectification()
    assert camera.for_size(SIZE) is None
    for stamp in range(5):
        message = camera_info()
        message.header.stamp.sec = stamp
        camera.take(message)
        assert camera.for_size(SIZE) is not None
        assert camera.for_size((1, 1)) is None
    assert len(built) == 1
    camera.take(camera_info(d=[0.1] * 5))
    assert camera.for_size(SIZE) is not None and camera.for_size(SIZE) is not None
    assert len(built) == 2
    camera.take(camera_info(d=[]))
    assert camera.for_size(SIZE) is None
    assert camera.state.summary == "not rectified: no distortion"


def node_with(**remapped: str) -> Any:
    """A node that remaps topics, given without the leading slash."""
    said: list[str] = []

    def resolve(name: str, *, only_expand: bool = False) -> str:
        full = name if name.startswith("/") else f"/{name}"
        return full if only_expand else remapped.get(full.replace("/", "_")[1:], full)

    return SimpleNamespace(resolve_topic_name=resolve, get_logger=lambda: SimpleNamespace(info=said.append), said=said)


def topics(node: Any, rgb_image: str, thermal_image: str, **given: str) -> dict[str, str]:
    found = choose_topics(
        node,
        {Camera.RGB: rgb_image, Camera.THERMAL: thermal_image},
        {camera: given.get(camera.value, "") for camera in Camera},
    )
    return {camera.value: topic for camera, topic in found.items()}


def test_the_topic_of_camera_info_follows_the_image_a_remapping_or_a_parameter() -> None:
    node = node_with()
    beside = {"rgb": "/rgb/camera_info", "thermal": "/thermal/camera_info"}
    assert topics(node, "/rgb/image_raw", "/thermal/image_raw") == beside
    assert topics(node, "/a/b/image", "/t/image_raw") == {"rgb": "/a/b/camera_info", "thermal": "/t/camera_info"}
    given = topics(node, "/rgb/image_raw", "/thermal/image_raw", thermal="lens/info")
    assert given == beside | {"thermal": "lens/info"}
    assert topics(node_with(rgb_camera_info="/x/info"), "/rgb/image_raw", "/thermal/image_raw") == {
        "rgb": "rgb/camera_info",
        "thermal": "/thermal/camera_info",
    }
    assert node.said == []


@pytest.mark.parametrize("name", ["image_rect", "image_rect_color", "image_rect_raw", "left_image_rect"])
def test_images_that_are_rectified_already_have_no_camera_info(name: str) -> None:
    assert topics(node_with(), f"/rgb/{name}", "/thermal/image_raw", rgb="/rgb/info") == {
        "thermal": "/thermal/camera_info"
    }
    assert topics(node_with(), "/rgb/rectangle_image", "/thermal/image_raw").keys() == {"rgb", "thermal"}


def test_a_camera_info_that_either_camera_could_own_is_not_used() -> None:
    node = node_with()
    assert topics(node, "/camera/rgb", "/camera/thermal") == {}
    assert node.said[0].startswith("/camera/camera_info could be the camera_info of either camera")
    assert len(node.said) == 2
    assert topics(node, "/camera/rgb", "/camera/thermal", rgb="/camera/camera_info") == {"rgb": "/camera/camera_info"}
    both = topics(node, "/camera/rgb", "/camera/thermal", rgb="/a", thermal="/b")
    assert both == {"rgb": "/a", "thermal": "/b"}


def test_the_calibration_has_the_fields_of_the_message() -> None:
    message = camera_info(binning_x=2, binning_y=2)
    message.roi.x_offset, message.roi.width, message.roi.height = 4, 8, 12
    assert calibration_of(message) == calibration_from(
        size=SIZE,
        model="plumb_bob",
        d=D,
        k=list(message.k),
        r=[0.0] * 9,
        p=[0.0] * 12,
        binning=(2, 2),
        region=(4, 0, 8, 12),
    )


@pytest.mark.parametrize("seed", range(20, 26))
def test_combinations_of_faults_with_rectification(seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # The boxes of this suite are the numbers of images and no places, so they stay as they are.
        patch.setattr(Rectification, "restored", lambda rectification, detections: detections)
        run = FaultRun(draw_scenario(seed), patch)
        for camera in Camera:
            # A lens that distorts so little that the number in the middle of an image stays there.
            run.world.subscribed[f"/{camera.value}/camera_info"](camera_info(d=[1e-6, 0, 0, 0, 0]))
        run.run()
        assert all(state.is_rectified for state in run.detector.session.rectification_states().values())
