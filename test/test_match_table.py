# SPDX-License-Identifier: Apache-2.0
"""The table of matches against pycocotools, for any selection of frames."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from detection_cases import random_results

from fusion_mamba_ros.evaluation.bag_evaluation.match_table import MatchTable
from fusion_mamba_ros.evaluation.detection_metrics import measure
from fusion_mamba_ros.evaluation.detection_results import DetectionResults
from fusion_mamba_ros.perception.detections import Detections


def table_of(results: DetectionResults) -> MatchTable:
    table = MatchTable(results.class_names)
    for image in results.images:
        table.add(image.truth_boxes, image.truth_labels, image.detections)
    return table


def assert_equal_to_pycocotools(
    table: MatchTable, results: DetectionResults, frames: npt.NDArray[np.bool_] | None = None
) -> None:
    expected = measure(results)
    found = table.average_precision(frames)
    for name, item in expected.per_class.items():
        one = found[name]
        assert one.boxes == item.boxes
        for mine, theirs in ((one.ap, item.ap), (one.ap50, item.ap50), (one.ap75, item.ap75)):
            assert mine == pytest.approx(theirs, abs=1e-12) if theirs is not None else mine is None
        if item.curve is not None:
            assert one.curve is not None
            np.testing.assert_allclose(one.curve.precision, item.curve.precision, atol=1e-12)
            np.testing.assert_allclose(one.curve.scores, item.curve.scores, atol=1e-7)


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_is_that_of_pycocotools(seed: int) -> None:
    print("seed", seed)
    results = random_results(seed, truth_seed=seed)
    assert_equal_to_pycocotools(table_of(results), results)


def test_equal_scores_and_equal_overlaps_are_ordered_as_pycocotools_does() -> None:
    results = random_results(5, images=12, jitter_px=1.0)
    tied = [
        replace(
            image,
            # Whole pixels and scores in steps of 0.25: many exact ties. Each true box exists twice.
            truth_boxes=np.concatenate([image.truth_boxes, image.truth_boxes]).round(),
            truth_labels=np.concatenate([image.truth_labels, image.truth_labels]),
            detections=Detections(
                image.detections.boxes.round(),
                (image.detections.scores * 4).round().astype(np.float32) / np.float32(4),
                image.detections.labels,
            ),
        )
        for image in results.images
    ]
    results = replace(results, images=tuple(tied))
    assert_equal_to_pycocotools(table_of(results), results)


def test_frames_without_boxes_or_detections_change_nothing_else() -> None:
    results = random_results(6, images=6)
    none = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    first, second, *rest = results.images
    images = (
        replace(first, detections=none),
        replace(second, truth_boxes=np.zeros((0, 4), np.float32), truth_labels=np.zeros(0, np.int64)),
        *rest,
    )
    results = replace(results, images=images)
    assert_equal_to_pycocotools(table_of(results), results)


def test_a_choice_of_frames_gives_what_these_frames_alone_give() -> None:
    results = random_results(7)
    mask = np.random.default_rng(7).random(len(results.images)) < 0.5
    chosen = replace(results, images=tuple(image for image, keep in zip(results.images, mask, strict=True) if keep))
    assert_equal_to_pycocotools(table_of(results), chosen, mask)


def test_pooled_tables_are_the_table_of_all_frames_even_if_the_class_lists_differ() -> None:
    results = random_results(8)
    halves = [replace(results, images=results.images[:9]), replace(results, images=results.images[9:])]
    tables = [table_of(half) for half in halves]
    # The second table knows the classes in another order.
    order = [2, 0, 1]
    names = tuple(results.class_names[index] for index in order)
    moved = MatchTable(names)
    for image in halves[1].images:
        found = image.detections
        labels, truth = (np.array([order.index(i) for i in part]) for part in (found.labels, image.truth_labels))
        moved.add(image.truth_boxes, truth, Detections(found.boxes, found.scores, labels))
    pooled = MatchTable.pooled([tables[0], MatchTable.from_arrays(moved.arrays())])
    assert pooled.frames == len(results.images)
    assert_equal_to_pycocotools(pooled, results)


def test_a_class_without_a_true_box_has_no_average_precision() -> None:
    table = MatchTable(("person", "car"))
    table.add(
        np.array([[0, 0, 10, 10]], np.float32),
        np.array([0]),
        Detections(
            np.array([[0, 0, 10, 10], [20, 20, 30, 30]], np.float32), np.array([0.9, 0.8], np.float32), np.array([0, 1])
        ),
    )
    found = table.average_precision()
    assert found["person"].ap == pytest.approx(1.0)
    assert found["car"].ap is None and found["car"].curve is None
    assert table.score_histogram(10)["car"] == ([0] * 10, [0] * 8 + [1, 0])


@pytest.mark.parametrize(
    "change",
    [
        {"owners": np.array([5], np.int32)},
        {"labels": np.array([3], np.int16)},
        {"scores": np.array([np.nan], np.float32)},
        {"truth": np.array([[-1]], np.int32)},
        {"correct": np.zeros(0, np.uint16)},
    ],
)
def test_damaged_arrays_are_refused(change: dict[str, Any]) -> None:
    table = MatchTable(("person",))
    box = np.array([[0, 0, 10, 10]], np.float32)
    table.add(box, np.array([0]), Detections(box, np.array([0.9], np.float32), np.array([0])))
    arrays = table.arrays()
    MatchTable.from_arrays(arrays)
    with pytest.raises(ValueError, match=r"true boxes|detection"):
        MatchTable.from_arrays({**arrays, **change})
