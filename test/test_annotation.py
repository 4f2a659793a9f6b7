# SPDX-License-Identifier: Apache-2.0
"""Boxes of a label file in pixels of the image, and the problems that are reported."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fusion_mamba_ros.datasets.annotation import Annotation
from fusion_mamba_ros.datasets.problems import ProblemKind

CLASSES = ("person", "car")
SIZE = (100, 80)


def resolve(
    boxes: Any, classes: Iterable[Any], *, normalised: bool = False
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], list[Any]]:
    annotation = Annotation(np.array(boxes, np.float64).reshape(-1, 4), tuple(classes), normalised)
    return annotation.resolve("pair", SIZE, CLASSES)


def test_normalised_boxes_become_pixels_of_the_image() -> None:
    boxes, labels, problems = resolve([[0.1, 0.25, 0.5, 0.75]], ["car"], normalised=True)
    np.testing.assert_allclose(boxes, [[10, 20, 50, 60]])
    assert boxes.dtype == np.float32 and labels.dtype == np.int64
    assert labels.tolist() == [1] and problems == []


@pytest.mark.parametrize(
    ("box", "expected"),
    [([-20, 10, 30, 40], [0, 10, 30, 40]), ([50, 40, 130, 95], [50, 40, 100, 80])],
)
def test_box_beyond_the_image_is_clipped_and_reported(box: list[int], expected: list[int]) -> None:
    boxes, _, problems = resolve([box], ["person"])
    np.testing.assert_allclose(boxes, [expected])
    assert [problem.kind for problem in problems] == [ProblemKind.OUT_OF_BOUNDS]


def test_box_wholly_outside_the_image_is_dropped_and_reported() -> None:
    boxes, labels, problems = resolve([[120, 10, 150, 40], [1, 1, 9, 9]], ["person", "car"])
    assert labels.tolist() == [1] and len(boxes) == 1
    assert [problem.kind for problem in problems] == [ProblemKind.OUT_OF_BOUNDS]
    assert "dropped" in problems[0].detail


def test_rounding_beyond_the_edge_is_no_problem() -> None:
    boxes, _, problems = resolve([[0, 0, 1.000004, 1.0]], ["person"], normalised=True)
    np.testing.assert_allclose(boxes, [[0, 0, 100, 80]])
    assert problems == []


@pytest.mark.parametrize("box", [[10, 10, 10, 40], [30, 10, 20, 40], [float("nan"), 1, 5, 5], [1, 1, float("inf"), 5]])
def test_box_without_area_or_number_is_dropped_as_bad(box: list[Any]) -> None:
    boxes, labels, problems = resolve([box], ["person"])
    assert boxes.shape == (0, 4) and labels.shape == (0,)
    assert [problem.kind for problem in problems] == [ProblemKind.BAD_BOX]


def test_class_that_the_list_lacks_is_dropped_by_name() -> None:
    _, labels, problems = resolve([[1, 1, 20, 20], [2, 2, 30, 30]], ["dog", "person"])
    assert labels.tolist() == [0]
    assert problems[0].kind is ProblemKind.UNKNOWN_CLASS and "dog" in problems[0].detail


def test_same_box_twice_counts_once_but_another_class_stays() -> None:
    box = [5, 5, 20, 20]
    _, labels, problems = resolve([box, box, box], ["person", "person", "car"])
    assert labels.tolist() == [0, 1]
    assert [problem.kind for problem in problems] == [ProblemKind.DUPLICATED]


def test_no_boxes_is_a_true_negative_of_the_right_shape() -> None:
    boxes, labels, problems = resolve([], [])
    assert boxes.shape == (0, 4) and labels.shape == (0,) and problems == []
