# SPDX-License-Identifier: Apache-2.0
"""mAP on cases that can be computed by hand, and against pycocotools called as its users call it."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from detection_cases import image, random_results, results
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from fusion_mamba_ros.evaluation.detection_metrics import measure

A, B, C = (10, 10, 50, 50), (100, 10, 140, 60), (200, 200, 300, 300)


def test_one_of_two_boxes_found_gives_the_51_recalls_up_to_one_half() -> None:
    found = measure(results([image("a", [(A, 0), (B, 0)], [(A, 0, 0.9)])], ["person"]))
    assert found.map50 == pytest.approx(51 / 101)
    assert found.map == pytest.approx(51 / 101)
    assert found.recall == pytest.approx(0.5)


def test_false_alarm_between_two_hits_costs_precision_behind_it_only() -> None:
    detections = [(A, 0, 0.9), (C, 0, 0.8), (B, 0, 0.7)]
    found = measure(results([image("a", [(A, 0), (B, 0)], detections)], ["person"]))
    assert found.map50 == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_mean_goes_over_the_classes_that_occur_only() -> None:
    pairs = [image("a", [(A, 0), (B, 1)], [(A, 0, 0.9), (C, 2, 0.8)])]
    found = measure(results(pairs, ["person", "car", "bus"]))
    assert found.map50 == pytest.approx(0.5)
    assert found.per_class["person"].ap50 == pytest.approx(1.0)
    assert found.per_class["car"].ap50 == 0.0
    assert found.per_class["bus"].ap50 is None and found.per_class["bus"].boxes == 0


def test_box_shifted_by_a_third_counts_at_half_overlap_and_not_at_three_quarters() -> None:
    # 40 wide, shifted by 10: IoU 30 / 50 = 0.6, so three of the ten thresholds (0.50, 0.55, 0.60) are met.
    found = measure(results([image("a", [(A, 0)], [((20, 10, 60, 50), 0, 0.9)])], ["person"]))
    assert found.map50 == pytest.approx(1.0) and found.map75 == 0.0
    assert found.map == pytest.approx(0.3)


def test_sizes_are_told_apart_at_32_and_96_pixels_squared() -> None:
    small, medium, large = (0, 0, 20, 20), (50, 50, 110, 110), (200, 200, 340, 340)
    truth = [(small, 0), (medium, 0), (large, 0)]
    found = measure(results([image("a", truth, [(small, 0, 0.9), (large, 0, 0.8)])], ["person"]))
    assert found.map_small == pytest.approx(1.0)
    assert found.map_medium == 0.0
    assert found.map_large == pytest.approx(1.0)


def test_three_hundred_detections_count_where_pycocotools_own_summary_reads_a_hundred() -> None:
    def box(index: int, row: float) -> tuple[float, float, float, float]:
        return (20 * index, row, 20 * index + 15, row + 40)

    truth = [(box(index, 0), 0) for index in range(150)]
    alarms = [(box(index, 500), 0, 0.9) for index in range(150)]
    hits = [(box(index, 0), 0, 0.5) for index in range(150)]
    found = measure(results([image("a", truth, alarms + hits)], ["person"]))
    # All 150 are reached behind 150 false alarms: precision one half at every recall. At 100 it would be 0.
    assert found.map50 == pytest.approx(0.5)


def test_detections_beyond_three_hundred_do_not_count() -> None:
    alarms = [((3 * index, 500, 3 * index + 2, 520), 0, 0.9) for index in range(300)]
    found = measure(results([image("a", [(A, 0)], [*alarms, (A, 0, 0.5)])], ["person"]))
    assert found.map50 == 0.0


def test_without_true_boxes_there_is_no_number() -> None:
    found = measure(results([image("a", [], [(A, 0, 0.9)])], ["person"]))
    assert found.map is None and found.map50 is None and found.to_dict()["mAP50"] is None


def test_without_detections_everything_is_zero() -> None:
    found = measure(results([image("a", [(A, 0)], []), image("b", [], [])], ["person"]))
    assert found.map == 0.0 and found.recall == 0.0 and found.boxes == 1 and found.images == 2


def test_precision_recall_curve_ends_where_recall_ends() -> None:
    found = measure(results([image("a", [(A, 0), (B, 0)], [(A, 0, 0.9)])], ["person"]))
    curve = found.per_class["person"].curve
    assert curve is not None
    np.testing.assert_allclose(curve.precision[:51], 1.0)
    assert not curve.precision[51:].any()
    assert curve.scores[50] == pytest.approx(0.9)


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_pycocotools_read_from_json_and_summarised(seed: int) -> None:
    print(f"seed {seed}")
    cases = random_results(seed, images=25, noise_count=60)
    truth: dict[str, list[dict[str, Any]]] = {
        "images": [{"id": 100 + index} for index in range(len(cases.images))],
        "categories": [{"id": 7 * (index + 1), "name": name} for index, name in enumerate(cases.class_names)],
        "annotations": [],
    }
    found = []
    for index, case in enumerate(cases.images):
        for (x1, y1, x2, y2), label in zip(case.truth_boxes.tolist(), case.truth_labels.tolist(), strict=True):
            truth["annotations"].append(
                {
                    "id": len(truth["annotations"]) + 1,
                    "image_id": 100 + index,
                    "category_id": 7 * (label + 1),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
            )
        rows = zip(case.detections.boxes.tolist(), case.detections.scores, case.detections.labels, strict=True)
        for (x1, y1, x2, y2), score, label in rows:
            found.append(
                {
                    "image_id": 100 + index,
                    "category_id": 7 * (int(label) + 1),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "score": float(score),
                }
            )
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        evaluator = COCOeval(coco, coco.loadRes(found), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    ours = measure(cases)
    # At most 80 detections for each image here, so the limits of 100 and 300 give the same.
    expected = evaluator.stats
    np.testing.assert_allclose(
        np.array(
            [ours.map, ours.map50, ours.map75, ours.map_small, ours.map_medium, ours.map_large, ours.recall], float
        ),
        [*expected[:6], expected[8]],
        atol=1e-12,
    )


def test_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    measure(random_results(0, images=3))
    captured = capfd.readouterr()
    assert captured.out == "" and captured.err == ""
