# SPDX-License-Identifier: Apache-2.0
"""Frozen images: a closed shutter is detected, a slow camera core or a still scene is not reported."""

from __future__ import annotations

import numpy as np
import pytest

from fusion_mamba_ros.streams.frozen_image import FrozenImage

MS = 1_000_000


def image(seed: int, shape: tuple[int, ...] = (512, 640), dtype: type = np.uint16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_repeated_image_is_frozen_once_the_timeout_has_passed(dtype: type) -> None:
    frozen = FrozenImage(400 * MS)
    assert frozen.is_fresh(image(0, dtype=dtype), arrival_ns=0)
    verdicts = [frozen.is_fresh(image(1, dtype=dtype), arrival_ns=i * 100 * MS) for i in range(1, 10)]
    assert verdicts == [True] * 4 + [False] * 5
    assert frozen.is_fresh(image(2, dtype=dtype), arrival_ns=1000 * MS)


def test_a_9_hz_core_behind_a_30_hz_driver_is_never_frozen() -> None:
    frozen = FrozenImage(400 * MS)
    assert all(frozen.is_fresh(image(i * 9 // 30), arrival_ns=i * 33 * MS) for i in range(200))


@pytest.mark.parametrize("row", [8, 255, 500])
def test_one_changed_pixel_is_a_new_image(row: int) -> None:
    frozen = FrozenImage(400 * MS)
    still = image(0)
    for i in range(30):
        changed = still.copy()
        changed[row, 17] ^= i % 2
        assert frozen.is_fresh(changed, arrival_ns=i * 33 * MS)


@pytest.mark.parametrize("row", [0, 3, -1])
def test_a_telemetry_line_that_counts_on_does_not_hide_a_frozen_image(row: int) -> None:
    frozen = FrozenImage(400 * MS)
    verdicts = []
    for i in range(30):
        counted = image(0)
        counted[row] = i
        verdicts.append(frozen.is_fresh(counted, arrival_ns=i * 33 * MS))
    assert verdicts == [i * 33 < 400 for i in range(30)]


def test_small_images_are_compared_whole() -> None:
    frozen = FrozenImage(400 * MS)
    assert all(frozen.is_fresh(np.full((1, 100), i, np.uint8), arrival_ns=i * 500 * MS) for i in range(5))
    assert not frozen.is_fresh(np.full((1, 100), 4, np.uint8), arrival_ns=2500 * MS)


def test_another_size_or_depth_is_a_new_image() -> None:
    frozen = FrozenImage(400 * MS)
    for i, shape in enumerate([(40, 40), (40, 41), (40, 40, 3)]):
        assert frozen.is_fresh(np.zeros(shape, np.uint8), arrival_ns=i * 1000 * MS)
    assert frozen.is_fresh(np.zeros((40, 40, 3), np.uint16), arrival_ns=4000 * MS)


def test_a_clock_that_jumps_back_starts_the_count_anew() -> None:
    frozen = FrozenImage(400 * MS)
    assert frozen.is_fresh(image(0), arrival_ns=10_000 * MS)
    assert not frozen.is_fresh(image(0), arrival_ns=11_000 * MS)
    assert frozen.is_fresh(image(0), arrival_ns=100 * MS)
    assert not frozen.is_fresh(image(0), arrival_ns=500 * MS)
