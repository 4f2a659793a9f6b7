# SPDX-License-Identifier: Apache-2.0
"""Estimation of known homographies from synthetic and real pairs."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from fusion_mamba_ros.perception.registration import homography_from, map_points
from fusion_mamba_ros.registration.edge_orientation import edge_orientation
from fusion_mamba_ros.registration.estimation import (
    RegistrationError,
    RegistrationEstimate,
    estimate_registration,
)

WIDTH, HEIGHT = 320, 240
NARROWER = homography_from([0.80, 0.02, 0.12, -0.03, 0.78, 0.06, 0.02, -0.03, 1])
WIDER = homography_from([1.25, 0.0, -0.10, 0.0, 1.22, -0.15, 0, 0, 1])


def scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two images of the same shapes whose brightness has nothing to do with each other, over a wide field."""
    rng = np.random.default_rng(seed)
    size = (2 * HEIGHT, 2 * WIDTH)
    rgb, thermal = np.full(size, 90.0), np.full(size, 120.0)
    for _ in range(120):
        corners = rng.uniform(0, 1, 2) * (2 * WIDTH, 2 * HEIGHT) + rng.uniform(-40, 40, (4, 2))
        hull = cv2.convexHull(corners.astype(np.int32))
        cv2.fillPoly(rgb, [hull], float(rng.uniform(0, 255)))
        if rng.random() < 0.7:  # Not everything is seen by both.
            cv2.fillPoly(thermal, [hull], float(rng.uniform(0, 255)))
    return rgb, thermal


def crop(image: np.ndarray, homography: np.ndarray, seed: int) -> np.ndarray:
    """What a camera sees whose normalised coordinates ``homography`` maps to those of the middle of the image."""
    to_image = np.array([[WIDTH, 0, WIDTH / 2], [0, HEIGHT, HEIGHT / 2], [0, 0, 1]]) @ homography
    from_pixel = np.array([[1 / WIDTH, 0, 0.5 / WIDTH], [0, 1 / HEIGHT, 0.5 / HEIGHT], [0, 0, 1]])
    matrix = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]]) @ to_image @ from_pixel
    seen = cv2.warpPerspective(image, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    noisy = cv2.GaussianBlur(seen, (0, 0), 0.8) + np.random.default_rng(seed).normal(0, 4, seen.shape)
    recorded: np.ndarray = np.clip(noisy, 0, 255).astype(np.uint8)
    return recorded


def synthetic_pairs(homography: np.ndarray, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    pairs = []
    for seed in range(count):
        rgb, thermal = scene(seed)
        pairs.append((crop(rgb, np.eye(3), 100 + seed), crop(thermal, homography, 200 + seed)))
    return pairs


def error_px(estimate: RegistrationEstimate, truth: np.ndarray, width: int, height: int) -> float:
    """Mean distance over the part that both cameras see."""
    points = np.stack(np.meshgrid(np.linspace(0.05, 0.95, 10), np.linspace(0.05, 0.95, 10)), -1).reshape(-1, 2)
    true = map_points(truth, points)
    common = ((true > 0) & (true < 1)).all(axis=1)
    difference = (map_points(estimate.homography, points[common]) - true[common]) * (width, height)
    return float(np.hypot(*difference.T).mean())


@pytest.mark.parametrize("truth", [NARROWER, WIDER], ids=["narrower", "wider"])
def test_known_homography_of_synthetic_pairs_is_recovered(truth: npt.NDArray[np.float64]) -> None:
    progress: list[float] = []
    estimate = estimate_registration(synthetic_pairs(truth, 3), on_progress=progress.append)
    assert error_px(estimate, truth, WIDTH, HEIGHT) < 1.5
    assert estimate.residual_px < 1.5
    assert estimate.pair_count == 3
    assert progress == sorted(progress)
    assert progress[-1] == pytest.approx(1.0)


def test_images_that_have_nothing_in_common_are_refused() -> None:
    pairs = synthetic_pairs(np.eye(3), 4)
    shuffled = [(pairs[i][0], pairs[i - 1][1]) for i in range(len(pairs))]
    with pytest.raises(RegistrationError, match=r"too weak|disagree"):
        estimate_registration(shuffled)


def test_noise_and_blank_images_are_refused() -> None:
    rng = np.random.default_rng(0)
    noise = [tuple(rng.integers(0, 256, (2, 120, 160), dtype=np.uint8)) for _ in range(2)]
    with pytest.raises(RegistrationError, match=r"too weak|disagree"):
        estimate_registration(noise)
    blank = np.full((120, 160), 90, np.uint8)
    with pytest.raises(RegistrationError, match="too weak"):
        estimate_registration([(blank, blank)] * 2)


def test_no_pairs_are_refused() -> None:
    with pytest.raises(RegistrationError, match="no pair"):
        estimate_registration([])


def test_edge_orientation_is_the_same_for_both_polarities_and_zero_where_nothing_is_seen() -> None:
    rgb, _ = scene(3)
    image = rgb.astype(np.uint8)
    np.testing.assert_allclose(edge_orientation(255 - image), edge_orientation(image), atol=1e-3)
    valid = np.zeros(image.shape, bool)
    valid[:, 200:] = True
    edges = edge_orientation(image, valid)
    assert not edges[:, :, :200].any()
    assert edges[:, :, 210:].any()


@pytest.mark.skipif("FUSION_MAMBA_DATA" not in os.environ, reason="FUSION_MAMBA_DATA is not set")
def test_known_homography_of_real_pairs_is_recovered() -> None:
    """RoadScene is aligned to 1 or 2 px (its documentation), so the warp put in must come out to about that."""
    folder = Path(os.environ["FUSION_MAMBA_DATA"]) / "roadscene"
    names = sorted(path.stem for path in (folder / "rgb").glob("*.jpg"))[::24]
    pairs = []
    for name in names:
        rgb, thermal = (cv2.imread(str(folder / modality / f"{name}.jpg"), 0) for modality in ("rgb", "thermal"))
        assert rgb is not None and thermal is not None
        height, width = thermal.shape
        matrix = np.diag([width, height, 1]) @ NARROWER @ np.diag([1 / width, 1 / height, 1])
        half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
        warped = cv2.warpPerspective(
            thermal, np.linalg.inv(half) @ matrix @ half, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )
        pairs.append((rgb, warped))
    estimate = estimate_registration(pairs)
    assert error_px(estimate, NARROWER, 520, 301) < 2.0
