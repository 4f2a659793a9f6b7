# SPDX-License-Identifier: Apache-2.0
"""Contributions by occlusion: against orders of arrival, and with an engine whose scores are known."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations, permutations

import numpy as np
import numpy.typing as npt
import pytest

from fusion_mamba_ros.perception.calibration import Calibration
from fusion_mamba_ros.perception.detections import Detections
from fusion_mamba_ros.perception.engine import EngineOutput
from fusion_mamba_ros.perception.occlusion import Occlusion, best_scores, frame_shares, shapley_values, shares
from fusion_mamba_ros.perception.preprocessing import PreparedImages, prepare

SIZE = (64, 32)


@pytest.mark.parametrize("seed", range(3))
def test_shapley_values_are_the_mean_gain_over_all_orders_and_add_up(seed: int) -> None:
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    names = ("rgb", "thermal", "depth")
    subsets = [frozenset(subset) for size in range(4) for subset in combinations(names, size)]
    values = {subset: rng.random(5) for subset in subsets}
    expected = np.zeros((5, 3))
    for order in permutations(names):
        for position, name in enumerate(order):
            before = frozenset(order[:position])
            expected[:, names.index(name)] += (values[before | {name}] - values[before]) / 6
    found = shapley_values(values, names)
    np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(found.sum(axis=1), values[frozenset(names)] - values[frozenset()])


def test_shares_leave_out_what_speaks_against_a_detection() -> None:
    rows = np.array([[0.3, 0.1], [0.4, -0.2], [0.0, 0.0]])
    np.testing.assert_allclose(shares(rows), np.array([[0.75, 0.25], [1, 0], [0.5, 0.5]]))
    whole = frame_shares(rows)
    assert whole is not None
    np.testing.assert_allclose(whole, [0.7 / 0.8, 0.1 / 0.8])
    assert frame_shares(np.zeros((0, 2))) is None


def test_best_score_is_that_of_the_same_class_in_an_overlapping_box() -> None:
    rows = np.array(
        [
            [0, 0, 10, 10, 0.3, 0.9],  # the box itself
            [0, 0, 10, 20, 0.5, 0.1],  # IoU 0.5
            [0, 0, 10, 21, 0.8, 0.1],  # IoU below 0.5
            [40, 0, 50, 10, 0.9, 0.9],
        ],
        np.float32,
    )
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [20, 20, 30, 30]], np.float32)
    found = best_scores(rows[:, :4], rows[:, 4:], boxes, np.array([0, 1, 0]))
    np.testing.assert_allclose(found, [0.5, 0.9, 0.0], rtol=1e-6)


class KnownScores:
    """An engine with one box whose score is 0.1, plus 0.5 if it sees RGB and 0.2 if it sees thermal."""

    def __init__(self, box: tuple[float, ...] = (8, 8, 40, 24)) -> None:
        self.images, self.box = 0, box

    def run(self, images: Mapping[str, npt.NDArray[np.uint8]], calibration: Calibration | None = None) -> EngineOutput:
        count = len(images["rgb"])
        self.images += count
        rows = np.zeros((count, 1, 5), np.float32)
        rows[:, 0, :4] = self.box
        rows[:, 0, 4] = 0.1
        for name, gain in (("rgb", 0.5), ("thermal", 0.2)):
            rows[:, 0, 4] += gain * np.array([image.any() for image in images[name]])
        return EngineOutput(rows, "the output is not finite" if images["rgb"].max() == 255 else None)


def prepared(level: int = 200, *names: str) -> PreparedImages:
    images = {"rgb": np.full((32, 64, 3), level, np.uint8), "thermal": np.full((32, 64), level, np.uint8)}
    shown = {name: images[name] for name in names or images}
    return prepare(shown, channels={"rgb": 3, "thermal": 1}, canvas_size=SIZE, homographies={}, reference_size=SIZE)


def detection(score: float, box: tuple[float, ...] = (8, 8, 40, 24)) -> Detections:
    return Detections(np.array([box], np.float32), np.array([score], np.float32), np.zeros(1, np.int64))


def test_contributions_are_the_gains_and_the_blind_pass_runs_once() -> None:
    engine = KnownScores()
    occlusion = Occlusion(engine)  # type: ignore[arg-type]  # it lacks what occlusion does not use
    for _ in range(3):
        found = occlusion.contributions(prepared(), detection(0.8), ("rgb", "thermal"))
        np.testing.assert_allclose(found, [[0.5, 0.2]], atol=1e-6)
    assert engine.images == 3 * 2 + 1


def test_single_image_contributes_everything_without_a_pass() -> None:
    engine = KnownScores()
    occlusion = Occlusion(engine)  # type: ignore[arg-type]
    found = occlusion.contributions(prepared(200, "thermal"), detection(0.3), ("thermal",))
    np.testing.assert_allclose(found, [[0.3]], rtol=1e-6)
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    assert occlusion.contributions(prepared(), nothing, ("rgb", "thermal")).shape == (0, 2)
    assert engine.images == 0


def test_output_that_is_not_finite_is_an_error() -> None:
    occlusion = Occlusion(KnownScores())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the output is not finite"):
        occlusion.contributions(prepared(255), detection(0.8), ("rgb", "thermal"))


def test_box_beyond_the_border_is_the_same_detection_as_the_clipped_one() -> None:
    occlusion = Occlusion(KnownScores((-60, 8, 20, 24)))  # type: ignore[arg-type]
    found = occlusion.contributions(prepared(), detection(0.8, (0, 8, 20, 24)), ("rgb", "thermal"))
    np.testing.assert_allclose(found, [[0.5, 0.2]], atol=1e-6)
