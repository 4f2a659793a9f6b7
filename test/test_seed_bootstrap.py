# SPDX-License-Identifier: Apache-2.0
"""The bootstrap over seeds and images."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from detection_cases import random_results

from fusion_mamba_ros.evaluation.detection_metrics import measure
from fusion_mamba_ros.evaluation.seed_bootstrap import SeedBootstrap

IMAGES = [f"image{index}" for index in range(20)]


def test_difference_is_the_mean_of_the_differences_of_the_seeds_and_clear_ones_are_decided() -> None:
    worse, better = ([random_results(s, jitter_px=px) for s in seeds] for seeds, px in (((1, 2), 12.0), ((3, 4), 3.0)))
    bootstrap = SeedBootstrap(IMAGES, samples=200)
    first, second = ([bootstrap.map50(results) for results in group] for group in (worse, better))
    found = bootstrap.compare(first, second)
    figures: list[list[Any]] = [[measure(results).map50 for results in group] for group in (worse, better)]
    expected = np.mean([b - a for a, b in zip(*figures, strict=True)])
    assert found.difference == pytest.approx(expected)
    assert 0 < found.low < found.difference < found.high
    assert (found.verdict, found.p_value, found.seeds) == ("better", 1 / 200, 2)
    assert bootstrap.compare(second, first).verdict == "worse"


def test_interval_is_that_of_drawing_seeds_and_images_one_after_the_other() -> None:
    rng = np.random.default_rng(5)
    print("seed 5")
    first, second = rng.normal(0.5, 0.05, (2, 3, 4001))
    found = SeedBootstrap(IMAGES, samples=4000).compare(list(first), list(second))
    drawn = []
    for sample in range(1, 4001):
        seeds = rng.integers(0, 3, 3)
        drawn.append(np.mean([second[s, sample] - first[s, sample] for s in seeds]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.012)
    assert found.verdict == "undecided"
    assert found.p_value == pytest.approx(2 * min(np.mean(np.less(drawn, 0)), np.mean(np.greater(drawn, 0))), abs=0.06)


def test_kind_against_itself_is_undecided() -> None:
    bootstrap = SeedBootstrap(IMAGES, samples=100)
    same = [bootstrap.map50(random_results(1))]
    found = bootstrap.compare(same, same)
    assert (found.difference, found.low, found.high, found.p_value, found.verdict) == (0, 0, 0, 1, "undecided")


def test_results_of_other_images_are_refused() -> None:
    results = random_results(1)
    other = replace(results, images=results.images[::-1])
    with pytest.raises(ValueError, match="evaluated on different images"):
        SeedBootstrap(IMAGES, samples=100).map50(other)


def test_images_without_a_true_box_are_refused() -> None:
    nothing = np.full(11, np.nan)
    with pytest.raises(ValueError, match="no true box"):
        SeedBootstrap(["a"], samples=10).compare([nothing], [nothing])
