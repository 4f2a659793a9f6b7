# SPDX-License-Identifier: Apache-2.0
"""Misalignment in training moves the thermal image against the boxes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from bright_patches import PLAIN, SIZE, bright_box, patch_sample

from fusion_mamba_ros.datasets import Augmentation, Sample


def test_thermal_that_the_boxes_were_drawn_on_is_not_moved_against_them() -> None:
    lone = replace(patch_sample(2, size=SIZE), images={"thermal": patch_sample(2, size=SIZE).images["thermal"]})
    changed = Augmentation(replace(PLAIN, misalignment=0.05))([lone], 0, np.random.default_rng(0))
    np.testing.assert_array_equal(changed.images["thermal"], lone.images["thermal"])


def test_misalignment_moves_thermal_alone_and_by_no_more_than_asked() -> None:
    config = replace(PLAIN, misalignment=0.05)
    sample = patch_sample(2, size=SIZE)
    shifts = []
    for seed in range(60):
        changed = Augmentation(config)([sample], 0, np.random.default_rng(seed))
        np.testing.assert_array_equal(changed.images["rgb"], sample.images["rgb"])
        np.testing.assert_allclose(changed.boxes, sample.boxes)
        shifts.append(bright_box(changed.images["thermal"])[:2] - sample.boxes[0, :2])
    assert np.abs(shifts).max() <= 0.05 * SIZE[0] + 1
    assert np.abs(shifts).max(axis=0).min() > 0.03 * SIZE[0]


def test_large_misalignment_shifts_thermal_by_up_to_so_many_pixels_and_not_the_boxes() -> None:
    config = replace(PLAIN, large_misalignment_probability=0.5, large_misalignment_px=20.0)
    rgb, thermal = np.zeros((SIZE[1], SIZE[0], 3), np.uint8), np.zeros((SIZE[1], SIZE[0]), np.uint8)
    rgb[100:140, 150:190] = thermal[100:140, 150:190] = 255
    box = np.array([[150, 100, 190, 140]], np.float32)
    sample = Sample("centre", {"rgb": rgb, "thermal": thermal}, box, np.zeros(1, np.int64))
    shifts = []
    for seed in range(200):
        changed = Augmentation(config)([sample], 0, np.random.default_rng(seed))
        np.testing.assert_array_equal(changed.images["rgb"], rgb)
        np.testing.assert_array_equal(changed.boxes, box)
        rows, columns = np.nonzero(changed.images["thermal"] > 127)
        shifts.append((columns.mean() - 169.5, rows.mean() - 119.5))
    lengths = np.hypot(*np.array(shifts).T)
    moved = lengths > 0.5
    # Four standard deviations of a binomial count; lengths are uniform from 0 to 20.
    assert abs(moved.mean() - 0.5 * 19.5 / 20) < 4 * np.sqrt(0.25 / 200)
    assert 17 < lengths.max() <= 20.5 and abs(lengths[moved].mean() - 10.25) < 4 * 20 / np.sqrt(12 * moved.sum())
    angles = np.arctan2(*np.array(shifts)[moved].T)
    assert np.abs(np.histogram(angles, 4, (-np.pi, np.pi))[0] / moved.sum() - 0.25).max() < 0.2
