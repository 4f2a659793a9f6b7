# SPDX-License-Identifier: Apache-2.0
"""Matching of detections with true boxes, the confusion matrix and the operating point."""

from __future__ import annotations

import numpy as np
import pytest
from detection_cases import image, random_results, results

from fusion_mamba_ros.evaluation.box_matching import confusion_matrix, intersection_over_union, match_image
from fusion_mamba_ros.evaluation.detection_metrics import run_coco_evaluation
from fusion_mamba_ros.evaluation.operating_point import best_operating_point

A, B, C = (10, 10, 50, 50), (100, 10, 140, 60), (200, 200, 300, 300)


def test_overlap_of_known_boxes() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]], np.float32)
    np.testing.assert_allclose(
        intersection_over_union(boxes, boxes), [[1.0, 1 / 3, 0.0], [1 / 3, 1.0, 0.0], [0.0, 0.0, 1.0]], atol=1e-12
    )


def test_better_score_takes_the_box_and_the_other_is_a_false_alarm() -> None:
    matches = match_image(image("a", [(A, 0)], [(A, 0, 0.6), (A, 0, 0.9)]), 0.25)
    assert matches.pairs.tolist() == [[0, 0]] and matches.false_alarms.tolist() == [1] and not len(matches.misses)


def test_detection_below_the_threshold_is_as_if_it_were_not_there() -> None:
    matches = match_image(image("a", [(A, 0)], [(A, 0, 0.2)]), 0.25)
    assert matches.misses.tolist() == [0] and not len(matches.false_alarms)


def test_confusion_counts_right_wrong_missed_and_false() -> None:
    pairs = [
        image("a", [(A, 0), (B, 1), (C, 1)], [(A, 0, 0.9), (B, 0, 0.8), ((400, 400, 450, 450), 1, 0.7)]),
        image("b", [], [(A, 0, 0.9)]),
    ]
    matrix = confusion_matrix(results(pairs, ["person", "car"]), 0.25)
    assert matrix.tolist() == [[1, 0, 0], [1, 0, 1], [1, 1, 0]]


def test_right_class_is_preferred_to_a_better_overlap_of_the_wrong_one() -> None:
    near = (12, 10, 52, 50)
    matrix = confusion_matrix(results([image("a", [(A, 0), (near, 1)], [(A, 1, 0.9)])], ["person", "car"]), 0.25)
    assert matrix.tolist() == [[0, 0, 1], [0, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize("seed", range(3))
def test_every_box_and_detection_is_counted_once(seed: int) -> None:
    cases = random_results(seed)
    matrix = confusion_matrix(cases, 0.3)
    truth = sum(len(case.truth_labels) for case in cases.images)
    found = sum(int((case.detections.scores >= 0.3).sum()) for case in cases.images)
    assert matrix[:-1].sum() == truth and matrix[:, :-1].sum() == found


@pytest.mark.parametrize("seed", range(3))
def test_matches_are_those_of_pycocotools(seed: int) -> None:
    print(f"seed {seed}")
    cases = random_results(seed, images=10)
    items = [item for item in run_coco_evaluation(cases).evalImgs if item and item["aRng"] == [0, 1e10]]
    expected = sum(int((item["dtMatches"][0] > 0).sum()) for item in items)
    assert sum(len(match_image(case, 0.0).pairs) for case in cases.images) == expected


@pytest.mark.parametrize("seed", range(3))
def test_operating_point_is_the_best_of_all_thresholds_tried_one_by_one(seed: int) -> None:
    print(f"seed {seed}")
    cases = random_results(seed, images=8)
    scores = {float(score) for case in cases.images for score in case.detections.scores if score >= 0.05}

    def f1(threshold: float) -> float:
        matches = [match_image(case, threshold) for case in cases.images]
        hits = sum(len(match.pairs) for match in matches)
        wrong = sum(len(match.misses) + len(match.false_alarms) for match in matches)
        return 2 * hits / max(1, 2 * hits + wrong)

    point = best_operating_point(cases)
    assert point is not None
    assert point.f1 == pytest.approx(max(map(f1, scores)))
    assert f1(point.score_threshold) == pytest.approx(point.f1)


def test_operating_point_needs_something_to_find() -> None:
    assert best_operating_point(results([image("a", [], [(A, 0, 0.9)])], ["person"])) is None
    point = best_operating_point(results([image("a", [(A, 0)], [])], ["person"]))
    assert point is not None and point.f1 == 0.0
