# SPDX-License-Identifier: Apache-2.0
"""The clock offset found from moving images: known offsets are found, weak evidence is called unknown."""

from __future__ import annotations

import os
from itertools import permutations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from fusion_mamba_ros.streams.clock_offset import ClockOffset, ClockOffsetEstimator
from fusion_mamba_ros.streams.frames import Camera

MS = 1_000_000
SECONDS = 12


def walkers(seed: int) -> npt.NDArray[np.float64]:
    """Return (walkers, times at 1 kHz, 2) positions that start, stop and turn at random."""
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    steps = np.repeat(rng.normal(0, 0.08, (4, SECONDS * 1000 // 300, 2)), 300, axis=1)
    steps *= np.repeat(rng.random((4, SECONDS * 1000 // 300, 1)) < 0.6, 300, axis=1)
    return np.array([[20, 20], [20, 70], [60, 30], [60, 90]])[:, None] + np.cumsum(steps, axis=1)


def view(places: npt.NDArray[np.float64], time_ms: float, warm: bool, rng: np.random.Generator) -> npt.NDArray[Any]:
    """Return 48x64 pixels: bright spots on noise for thermal, dark textured ones on a pattern for RGB."""
    y, x = np.mgrid[:96:2, :128:2]
    image = rng.normal(2000 if warm else 120, 4, (48, 64))
    if not warm:
        image += 30 * np.sin(x / 5) * np.cos(y / 7)
    for cy, cx in places[:, min(int(time_ms), places.shape[1] - 1)]:
        blob = np.exp(-(((y - cy % 96) ** 2 + (x - cx % 128) ** 2) / 60))
        image += 400 * blob if warm else -60 * blob
    return image.astype(np.uint16) if warm else np.dstack([np.clip(image, 0, 255).astype(np.uint8)] * 3)


def estimate(
    rgb_places: npt.NDArray[np.float64],
    thermal_places: npt.NDArray[np.float64],
    clock_ms: float,
    thermal_hz: float = 30,
    repeats: int = 1,
) -> ClockOffset | None:
    """Show both cameras their walkers; the thermal clock is ``clock_ms`` ahead."""
    rng = np.random.default_rng(1)
    estimator = ClockOffsetEstimator()
    for i in range(30 * SECONDS):
        time_ms = i * 1000 / 30
        estimator.add(Camera.RGB, int(time_ms * MS), view(rgb_places, time_ms, False, rng))
    for i in range(int(thermal_hz * SECONDS)):
        time_ms = 7 + i * 1000 / thermal_hz
        image = view(thermal_places, time_ms, True, rng)
        for repeat in range(repeats):
            stamp_ms = time_ms + clock_ms + repeat * 1000 / thermal_hz / repeats
            estimator.add(Camera.THERMAL, int(stamp_ms * MS), image)
    return estimator.estimate()


@pytest.mark.parametrize("clock_ms", [0, 60, -350, 800])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_known_offset_is_found_to_a_third_of_a_frame(clock_ms: int, seed: int) -> None:
    found = estimate(walkers(seed), walkers(seed), clock_ms)
    assert found is not None
    assert abs(found.thermal_offset_ns + clock_ms * MS) < 11 * MS


@pytest.mark.parametrize(("thermal_hz", "repeats"), [(9, 1), (10, 3)])
def test_a_slow_thermal_camera_and_one_that_repeats_images_are_measured_too(thermal_hz: float, repeats: int) -> None:
    found = estimate(walkers(0), walkers(0), 150, thermal_hz, repeats)
    assert found is not None
    assert abs(found.thermal_offset_ns + 150 * MS) < 1000 / thermal_hz / 3 * MS


@pytest.mark.parametrize("seed", range(4))
def test_cameras_that_see_different_motion_have_an_unknown_offset(seed: int) -> None:
    assert estimate(walkers(seed), walkers(100 + seed), 0) is None


def test_a_still_scene_has_an_unknown_offset() -> None:
    still = np.repeat(walkers(0)[:, :1], SECONDS * 1000, axis=1)
    assert estimate(still, still, 0) is None


def test_little_or_nothing_seen_is_unknown() -> None:
    estimator = ClockOffsetEstimator()
    assert estimator.estimate() is None
    image = np.zeros((96, 128), np.uint8)
    for i in range(300):
        estimator.add(Camera.RGB, i * 33 * MS, image)
        estimator.add(Camera.THERMAL, i * 33 * MS, image)
    assert estimator.estimate() is None


def test_the_memory_is_bounded_by_the_window_and_a_stamp_back_starts_anew() -> None:
    rng = np.random.default_rng(0)
    estimator = ClockOffsetEstimator(window_ns=2_000 * MS)
    for lap in range(2):
        for i in range(200):
            estimator.add(Camera.RGB, i * 33 * MS, rng.integers(0, 255, (48, 64), np.uint8))
        assert len(estimator._motion[Camera.RGB].samples) <= 62, lap


# Real images

needs_data = pytest.mark.skipif("FUSION_MAMBA_DATA" not in os.environ, reason="FUSION_MAMBA_DATA is not set")
RATES = {"0111_1716": 30.0, "0113_1714": 30.0, "0117_1620": 30.0, "1230_1202": 22.0}


def video(name: str, kind: str) -> list[npt.NDArray[np.uint8]]:
    capture = cv2.VideoCapture(str(Path(os.environ["FUSION_MAMBA_DATA"]) / "m3svd" / f"{name}_{kind}.mp4"))
    images = []
    while (read := capture.read())[0]:
        images.append(np.asarray(cv2.resize(read[1], (160, 120)), np.uint8))
    assert images, name
    return images


@pytest.fixture(scope="module")
def videos() -> dict[str, tuple[list[npt.NDArray[np.uint8]], list[npt.NDArray[np.uint8]]]]:
    return {name: (video(name, "visible"), video(name, "infrared")) for name in RATES}


def estimate_videos(rgb: Any, thermal: Any, rate_hz: float, first_thermal: int = 0) -> ClockOffset | None:
    estimator = ClockOffsetEstimator()
    for camera, images in ((Camera.RGB, rgb), (Camera.THERMAL, thermal[first_thermal:])):
        for i, image in enumerate(images):
            estimator.add(camera, int(i * 1000 / rate_hz * MS), image)
    return estimator.estimate()


@needs_data
@pytest.mark.parametrize("name", ["0111_1716", "0113_1714", "0117_1620"])
@pytest.mark.parametrize("frames", [0, 7, 20])
def test_real_videos_shifted_by_a_known_number_of_frames_are_found_to_half_a_frame(
    videos: dict[str, tuple[Any, Any]], name: str, frames: int
) -> None:
    found = estimate_videos(videos[name][0], videos[name][1], RATES[name], frames)
    assert found is not None
    assert abs(found.thermal_offset_ns - frames * 1000 / RATES[name] * MS) < 1000 / RATES[name] / 2 * MS


@needs_data
@pytest.mark.parametrize(("rgb", "thermal"), list(permutations(RATES, 2)))
def test_real_videos_of_different_scenes_have_an_unknown_offset(videos: Any, rgb: str, thermal: str) -> None:
    assert estimate_videos(videos[rgb][0], videos[thermal][1], 30.0) is None
