# SPDX-License-Identifier: Apache-2.0
"""Rectified images and boxes, held against OpenCV and against a scene that a distorting lens projects."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from fusion_mamba_ros.perception.detections import Detections, Mode
from fusion_mamba_ros.perception.rectification import (
    CalibrationError,
    CameraCalibration,
    Rectification,
    calibration_from,
)

SIZE = (160, 120)
K = [120.0, 0.0, 78.0, 0.0, 118.0, 61.0, 0.0, 0.0, 1.0]
P = [100.0, 0.0, 80.0, 0.0, 0.0, 100.0, 60.0, 0.0, 0.0, 0.0, 1.0, 0.0]
NO_P = [0.0] * 12
IDENTITY = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
MODELS: dict[str, list[float]] = {
    "plumb_bob": [-0.28, 0.07, 0.001, -0.002, 0.0],
    "rational_polynomial": [0.4, -0.1, 0.001, 0.0005, 0.01, 0.7, -0.05, 0.02],
    "equidistant": [-0.03, 0.01, -0.004, 0.001],
}


def info(**changes: Any) -> dict[str, Any]:
    """The fields of a CameraInfo."""
    values = {"size": SIZE, "model": "plumb_bob", "d": MODELS["plumb_bob"], "k": K, "r": IDENTITY, "p": P}
    return values | changes


def calibration(**changes: Any) -> CameraCalibration:
    found = calibration_from(**info(**changes))
    assert found is not None
    return found


def noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    small = np.random.default_rng(5).integers(0, 250, (shape[0] // 8, shape[1] // 8, *shape[2:])).astype(np.float32)
    image = cv2.resize(small, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(image, 0, 250).astype(dtype))


def by_opencv(image: np.ndarray, model: str, p: list[float], level: int) -> np.ndarray:
    """Return what image_proc computes, with float maps."""
    camera, distortion = np.reshape(K, (3, 3)), np.array(MODELS[model])
    new = camera if not any(p) else np.reshape(p, (3, 4))[:, :3]
    build = cv2.fisheye.initUndistortRectifyMap if model == "equidistant" else cv2.initUndistortRectifyMap
    maps = build(camera, distortion, np.eye(3), new, SIZE, cv2.CV_32FC1)
    found = cv2.remap(image, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(level,) * 3)
    return np.asarray(found)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("p", [P, NO_P], ids=["P", "no P"])
def test_rectified_images_are_those_of_opencv(model: str, p: list[float]) -> None:
    rectification = Rectification(calibration(model=model, d=MODELS[model], p=p))
    rgb = noise(120, 160, 3)
    found = rectification.rectify(rgb)
    assert (found.shape, found.dtype) == (rgb.shape, rgb.dtype)
    difference = np.abs(found.astype(int) - by_opencv(rgb, model, p, 114))
    assert difference.max() <= 3, difference.max()
    assert np.abs(rgb.astype(int) - found).mean() > 3, "the image must have changed"
    counts = noise(120, 160, dtype=np.uint16) * 100 + 20_000
    found = rectification.rectify(counts)
    assert found.dtype == np.uint16
    level = int(np.median(counts[::8, ::8]))
    assert np.abs(found.astype(int) - by_opencv(counts, model, p, level)).max() <= 250


def test_pixels_without_a_source_do_not_widen_the_range_of_thermal_counts() -> None:
    wide = [40.0, 0.0, 80.0, 0.0, 0.0, 40.0, 60.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    counts = noise(120, 160, dtype=np.uint16) + 20_000
    found = Rectification(calibration(p=wide)).rectify(counts)
    assert found[0, 0] == int(np.median(counts[::8, ::8]))
    assert found.min() >= counts.min() and found.max() <= counts.max()


@pytest.mark.parametrize("model", MODELS)
def test_points_go_back_to_where_opencv_undistorts_them_from(model: str) -> None:
    rectification = Rectification(calibration(model=model, d=MODELS[model]))
    rng = np.random.default_rng(7)
    original = rng.uniform((20, 20), (140, 100), (50, 2))
    camera, distortion, new = np.reshape(K, (3, 3)), np.array(MODELS[model]), np.reshape(P, (3, 4))[:, :3]
    pixels = (original - 0.5)[:, None]
    if model == "equidistant":
        rectified = cv2.fisheye.undistortPoints(pixels, camera, distortion, None, np.eye(3), new)
    else:
        criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-9)
        rectified = cv2.undistortPointsIter(pixels, camera, distortion, np.eye(3), new, criteria)
    back = rectification.to_original(rectified[:, 0] + 0.5)
    assert np.abs(back - original).max() < 1e-3


@pytest.mark.parametrize("model", MODELS)
def test_a_bright_rectangle_is_found_in_the_original_image_at_its_restored_box(model: str) -> None:
    # The original image is computed from the rectified scene by the maps of the inverse, not by `to_original`.
    rectification = Rectification(calibration(model=model, d=MODELS[model]))
    box = np.array([30, 25, 75, 70], np.float32)
    x, y = np.meshgrid(np.arange(SIZE[0], dtype=np.float64), np.arange(SIZE[1], dtype=np.float64))
    pixels = np.stack([x, y], axis=-1).reshape(-1, 1, 2)
    camera, distortion, new = np.reshape(K, (3, 3)), np.array(MODELS[model]), np.reshape(P, (3, 4))[:, :3]
    if model == "equidistant":
        rectified = cv2.fisheye.undistortPoints(pixels, camera, distortion, None, np.eye(3), new)
    else:
        criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-9)
        rectified = cv2.undistortPointsIter(pixels, camera, distortion, np.eye(3), new, criteria)
    inside = ((rectified[:, 0] + 0.5 >= box[:2]) & (rectified[:, 0] + 0.5 < box[2:])).all(axis=1).reshape(SIZE[::-1])
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    truth = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    assert np.abs(np.array(truth) - box).max() > 2, "the lens must move the box"
    (found,) = rectification.restored(detections(box)).boxes
    assert np.abs(found - truth).max() <= 1.0
    assert np.median(rectification.rectify(inside.astype(np.uint8) * 200)[27:68, 32:73]) == 200


def detections(*boxes: Any, ids: bool = False) -> Detections:
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.linspace(0.9, 0.5, count, dtype=np.float32),
        np.arange(count, dtype=np.int64),
        Mode.FUSED,
        np.arange(1, count + 1) if ids else None,
    )


def test_a_box_outside_the_original_image_is_left_out_with_its_id_and_an_edge_is_clipped() -> None:
    wide = [40.0, 0.0, 80.0, 0.0, 0.0, 40.0, 60.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    rectification = Rectification(calibration(p=wide))
    found = rectification.restored(detections([60, 40, 100, 80], [0, 0, 4, 4], [70, 50, 159, 70], ids=True))
    assert found.labels.tolist() == [0, 2] and found.track_ids is not None and found.track_ids.tolist() == [1, 3]
    assert found.boxes[1][2] == SIZE[0] and found.boxes.min() >= 0
    empty = detections()
    assert rectification.restored(empty) is empty


def test_the_outline_is_mapped_and_not_only_the_corners() -> None:
    # Barrel distortion bends the edges of a large box outward, beyond its corners.
    rectification = Rectification(calibration())
    box = np.array([20, 20, 140, 100], np.float32)
    edge = np.stack([np.linspace(20, 140, 1000), np.full(1000, 20.0)], axis=1)
    top = rectification.to_original(edge)[:, 1]
    assert top.min() < top[[0, -1]].min() - 1
    assert rectification.restored(detections(box)).boxes[0][1] == pytest.approx(top.min(), abs=0.2)


@pytest.mark.parametrize("d", [[], [0.0] * 5, [0.0] * 8])
@pytest.mark.parametrize("model", ["plumb_bob", "", "no such model"])
def test_a_lens_without_distortion_needs_no_work(d: list[float], model: str) -> None:
    assert calibration_from(**info(d=d, model=model)) is None
    uncalibrated = info(d=d, model=model, k=[0.0] * 9, r=[0.0] * 9, p=NO_P, size=(0, 0))
    assert calibration_from(**uncalibrated) is None


def test_binning_and_a_region_of_the_sensor_move_the_calibration_with_the_image() -> None:
    # A sensor of twice the size, of which a part is read in 2x2 bins, has the images of the smaller camera.
    sensor_k = [240.0, 0.0, 2 * 78.0 + 20, 0.0, 236.0, 2 * 61.0 + 10, 0.0, 0.0, 1.0]
    sensor_p = [200.0, 0.0, 180.0, 0.0, 0.0, 200.0, 130.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    found = calibration(size=(400, 300), k=sensor_k, p=sensor_p, binning=(2, 2), region=(20, 10, 320, 240))
    assert found == calibration()
    assert calibration(binning=(0, 0)) == calibration()


def replaced(values: list[float], index: int, value: float) -> list[float]:
    return [*values[:index], value, *values[index + 1 :]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"d": [float("nan"), 0, 0, 0, 0]}, "D contains NaN or infinity"),
        ({"d": [float("inf")] * 5}, "D contains NaN or infinity"),
        ({"k": replaced(K, 2, float("nan"))}, "K contains NaN or infinity"),
        ({"k": replaced(K, 2, float("nan")), "d": []}, "K contains NaN or infinity"),
        ({"p": replaced(P, 0, float("inf"))}, "P contains NaN or infinity"),
        ({"r": [float("nan")] * 9}, "R contains NaN or infinity"),
        ({"d": [0.1, 0.2, 0.3]}, "D has 3 numbers: plumb_bob has 4 or 5"),
        ({"d": [0.1] * 8}, "D has 8 numbers: plumb_bob has 4 or 5"),
        ({"d": [0.1] * 5, "model": "equidistant"}, "D has 5 numbers: equidistant has 4"),
        ({"d": [0.1] * 5, "model": "rational_polynomial"}, "D has 5 numbers: rational_polynomial has 8 or 12 or 14"),
        ({"d": [0.1] * 1_000_000}, "D has 1000000 numbers"),
        ({"model": "no\nmodel"}, r"distortion_model is 'no\nmodel': expected one of plumb_bob"),
        ({"k": replaced(K, 0, 0.0)}, "K has the focal lengths 0 and 118"),
        ({"k": [0.0] * 9, "p": NO_P}, "K has the focal lengths 0 and 0"),
        ({"p": replaced(P, 5, -1.0)}, "P has the focal lengths 100 and -1"),
        ({"k": K[:8]}, "K has 8 numbers: expected 9"),
        ({"p": P[:9]}, "P has 9 numbers: expected 12"),
        ({"r": [1.0] * 9}, "R is no rotation"),
        ({"r": replaced(IDENTITY, 0, -1.0)}, "R is no rotation"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_calibration_that_cannot_be_used_is_one_sentence(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(CalibrationError) as error:
        calibration_from(**info(**changes))
    assert words in str(error.value)
    assert "\n" not in str(error.value) and len(str(error.value)) < 250


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": (0, 0)}, "the camera's images are 0x0"),
        ({"size": (32767, 2)}, "OpenCV rectifies no images of 32767x2"),
        ({"d": [1e307] * 5}, "to infinity"),
        ({"p": replaced(P, 0, 5e-324)}, "to infinity|no inverse"),
        ({"p": replaced(P, 2, 1e7)}, "shows nothing of the original"),
        ({"r": [-1, 0, 0, 0, 1, 0, 0, 0, -1]}, "behind the camera"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.filterwarnings("error")
def test_a_calibration_that_shows_nothing_is_one_sentence(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(CalibrationError, match=words):
        Rectification(calibration(**changes))


def test_an_image_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the image is \(80, 60\), its calibration is for \(160, 120\)"):
        Rectification(calibration()).rectify(np.zeros((60, 80, 3), np.uint8))
