# SPDX-License-Identifier: Apache-2.0
"""The paired bootstrap against pycocotools on copied images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from detection_cases import image, random_results, results

from fusion_mamba_ros.evaluation.detection_metrics import measure
from fusion_mamba_ros.evaluation.detection_results import DetectionResults
from fusion_mamba_ros.evaluation.paired_bootstrap import MatchTable, compare_map50


@pytest.mark.parametrize("seed", range(5))
def test_counting_images_several_times_is_pycocotools_on_a_set_with_copies(seed: int) -> None:
    print(f"seed {seed}")
    cases = random_results(seed, images=12)
    weights = np.random.default_rng(seed).multinomial(12, np.full(12, 1 / 12))
    copies = [
        replace(case, name=f"{case.name} {copy}")
        for case, count in zip(cases.images, weights, strict=True)
        for copy in range(count)
    ]
    expected = measure(replace(cases, images=tuple(copies))).map50
    assert MatchTable(cases).map50(weights[None].astype(float))[0] == pytest.approx(expected, abs=1e-9)


def test_values_of_the_whole_set_are_those_of_the_metrics() -> None:
    first, second = random_results(1, jitter_px=12.0), random_results(2, jitter_px=3.0)
    found = compare_map50(first, second, samples=200)
    assert found.first == pytest.approx(measure(first).map50) and found.second == pytest.approx(measure(second).map50)
    assert found.difference == pytest.approx(found.second - found.first)
    assert found.low < found.difference < found.high and found.low > 0 and found.share_above_zero == 1.0


def test_detector_against_itself_differs_by_exactly_nothing() -> None:
    cases = random_results(3)
    found = compare_map50(cases, cases, samples=200)
    assert (found.difference, found.low, found.high, found.share_above_zero) == (0.0, 0.0, 0.0, 0.0)


def test_pairing_makes_the_interval_narrower_than_that_of_independent_images() -> None:
    first = random_results(4, images=40)
    # The second detector is the first with some detections worse: they fail on the same images.
    worse = [
        replace(case, detections=replace(case.detections, boxes=case.detections.boxes + np.float32(index % 7 == 0) * 9))
        for index, case in enumerate(first.images)
    ]
    second = replace(first, images=tuple(worse))
    paired = compare_map50(first, second, samples=500)
    table, rng = MatchTable(first), np.random.default_rng(0)
    draws = [table.map50(rng.multinomial(40, np.full(40, 1 / 40), size=500).astype(float)) for _ in range(2)]
    low, high = np.quantile(draws[1] - draws[0], [0.025, 0.975])
    assert paired.high - paired.low < 0.7 * (high - low)


def test_order_of_the_images_does_not_matter() -> None:
    first, second = random_results(1), random_results(2)
    turned = replace(second, images=second.images[::-1])
    assert compare_map50(first, turned, samples=200) == compare_map50(first, second, samples=200)


def test_same_seed_gives_the_same_interval() -> None:
    first, second = random_results(1), random_results(2)
    assert compare_map50(first, second, samples=300, seed=5) == compare_map50(first, second, samples=300, seed=5)


A = (10.0, 10.0, 50.0, 50.0)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (results([image("a", [(A, 0)], [])], ["car"]), "different classes"),
        (results([image("b", [(A, 0)], [])], ["person"]), "only one of the results"),
        (results([image("a", [], [])], ["person"]), "different true boxes"),
    ],
)
def test_results_of_other_data_are_refused(second: DetectionResults, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare_map50(results([image("a", [(A, 0)], [])], ["person"]), second)


def test_nothing_to_find_is_refused() -> None:
    empty = results([image("a", [], [])], ["person"])
    with pytest.raises(ValueError, match="no true box"):
        compare_map50(empty, empty)
