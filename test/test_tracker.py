# SPDX-License-Identifier: Apache-2.0
"""Tracks: assignment against SciPy, filters over any time step, hostile stamps, and ids over changes of mode."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("motmetrics")
from plain_bytetrack import PlainByteTrack
from scipy.optimize import linear_sum_assignment
from street_tracks import Freezes, render, simulate
from track_scores import ids_lost_to_freezes, judge

from fusion_mamba_ros.tracking.assignment import assign
from fusion_mamba_ros.tracking.kalman_filter import BoxStates
from fusion_mamba_ros.tracking.tracker import LOST_TIMEOUT_SEC, Tracker

SECOND = 1_000_000_000
BOX = np.array([[100.0, 100.0, 140.0, 200.0]])


def update(
    tracker: Tracker,
    seconds: float,
    boxes: np.ndarray = BOX,
    scores: Sequence[float] | None = None,
    labels: Sequence[int] | None = None,
) -> list[int]:
    given = np.full(len(boxes), 0.9) if scores is None else np.array(scores)
    classes = np.zeros(len(boxes), int) if labels is None else np.array(labels)
    ids: list[int] = tracker.update(
        boxes, given, classes, stamp_ns=round(seconds * SECOND), score_threshold=0.5
    ).tolist()
    return ids


def test_the_assignment_costs_as_little_as_that_of_scipy() -> None:
    seed = np.random.SeedSequence().entropy
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    for case in range(1000):
        shape = rng.integers(0, 9, 2)
        # Whole numbers give ties.
        cost = rng.random(shape) if case % 2 else rng.integers(0, 5, shape) / 4
        limit = float(rng.choice([0.3, 0.8, 2.0]))
        rows, columns = assign(cost, limit)
        assert len(set(rows)) == len(rows) and len(set(columns)) == len(columns)
        assert (cost[rows, columns] < limit).all()
        capped = np.minimum(cost, limit)
        best = linear_sum_assignment(capped)
        assert (limit - cost[rows, columns]).sum() == pytest.approx((limit - capped[best]).sum(), abs=1e-9)


def test_two_short_predictions_equal_one_long_one() -> None:
    once, twice = BoxStates.started(BOX), BoxStates.started(BOX)
    for states in (once, twice):
        states.predict(0.1)
        states.update(np.array([0]), BOX + 3)
    once.predict(0.7)
    twice.predict(0.2)
    twice.predict(0.5)
    for name in ("position", "velocity", "position_variance", "covariance", "velocity_variance"):
        np.testing.assert_allclose(getattr(once, name), getattr(twice, name), rtol=1e-12)


def test_the_filter_agrees_with_the_matrix_form() -> None:
    states = BoxStates.started(BOX)
    size2 = 40.0 * 100.0
    mean, covariance = np.array([120.0, 0.0]), np.diag([0.05**2 * size2, states.velocity_variance[0, 0]])
    for seconds, moved in ((0.1, 4.0), (0.5, 30.0)):
        scale = np.prod(states.measured_size[0]) * 0.15**2
        step = np.array([[1, seconds], [0, 1]])
        noise = scale * np.array([[seconds**3 / 3, seconds**2 / 2], [seconds**2 / 2, seconds]])
        mean, covariance = step @ mean, step @ covariance @ step.T + noise
        measured = 0.05**2 * np.prod(states.measured_size[0])
        gain = covariance[:, 0] / (covariance[0, 0] + measured)
        mean = mean + gain * (120.0 + moved - mean[0])
        covariance = covariance - np.outer(gain, covariance[0])
        states.predict(seconds)
        states.update(np.array([0]), BOX + np.array([moved, 0, moved, 0]))
        got = states.position[0, 0], states.velocity[0, 0], states.position_variance[0, 0], states.covariance[0, 0]
        np.testing.assert_allclose(got, [*mean, covariance[0, 0], covariance[0, 1]], rtol=1e-9)


def test_an_object_gets_its_id_at_the_second_sight_and_keeps_it() -> None:
    tracker = Tracker()
    assert [update(tracker, t / 10)[0] for t in range(4)] == [0, 1, 1, 1]


def test_a_class_has_its_own_tracks() -> None:
    tracker, boxes = Tracker(), np.concatenate([BOX, BOX])
    for t in (0.0, 0.1, 0.2):
        ids = update(tracker, t, boxes, labels=[0, 1])
    assert ids == [1, 2]
    assert update(tracker, 0.3, boxes, labels=[1, 0]) == [2, 1]


def test_a_weak_detection_continues_a_track_and_starts_none() -> None:
    tracker = Tracker()
    assert [update(tracker, t / 10, scores=[0.2])[0] for t in range(3)] == [0, 0, 0]
    assert len(tracker) == 0
    assert [update(tracker, 1 + t / 10, scores=[score])[0] for t, score in enumerate([0.9, 0.9, 0.2, 0.9])] == [
        0,
        1,
        1,
        1,
    ]


@pytest.mark.parametrize("rate_hz", [2.0, 30.0])
def test_a_lost_track_expires_after_seconds_at_any_rate(rate_hz: float) -> None:
    nothing = np.zeros((0, 4))
    for unseen_sec, found in ((LOST_TIMEOUT_SEC - 0.6, True), (LOST_TIMEOUT_SEC + 0.6, False)):
        tracker = Tracker()
        update(tracker, 0)
        assert update(tracker, 1 / rate_hz) == [1]
        steps = int(unseen_sec * rate_hz)
        for step in range(1, steps):
            update(tracker, (1 + step) / rate_hz, nothing)
        update(tracker, (1 + steps) / rate_hz)
        assert (update(tracker, (2 + steps) / rate_hz) == [1]) == found


@pytest.mark.parametrize(
    ("stamps", "kept"),
    [
        ([0.2, 0.2, 0.2], True),  # equal
        ([0.15, 0.2, 0.25], True),  # a clock is adjusted
        ([-5.0, -4.9, -4.8], False),  # a bag starts over
        ([1e9, 1e9 + 0.1, 1e9 + 0.2], False),
        ([0.3, -5.0, 1e9, 0.3], False),
    ],
)
def test_hostile_stamps_keep_or_end_all_tracks(stamps: list[float], kept: bool) -> None:
    tracker = Tracker()
    for t in (0.0, 0.1, 0.2):
        update(tracker, t)
    for t in stamps:
        ids = update(tracker, t)
    assert np.isfinite(tracker._states.boxes()).all()
    assert (ids == [1]) if kept else (ids != [1])


def test_ids_are_not_used_again_after_a_reset() -> None:
    tracker = Tracker()
    update(tracker, 0)
    assert update(tracker, 0.1) == [1]
    tracker.reset()
    update(tracker, 0.2)
    assert update(tracker, 0.3) == [2]


def test_a_moving_object_is_found_again_after_a_second_unseen() -> None:
    tracker = Tracker()
    for t in range(10):
        ids = update(tracker, t / 10, BOX + 8 * t * np.array([1, 0, 1, 0]))
    # 80 px further on: two widths away from where it was.
    assert update(tracker, 1.9, BOX + 8 * 19 * np.array([1, 0, 1, 0])) == ids == [1]


def test_freezes_of_thermal_cost_fewer_ids_than_with_a_plain_tracker() -> None:
    rate_hz, freezes = 10.0, Freezes(6)
    frames = render(1, freezes.seconds, rate_hz, scale=0.25)
    frozen, whole = simulate(frames, rate_hz, freezes, 1), simulate(frames, rate_hz, None, 1)
    ours = judge(frozen, Tracker()), judge(whole, Tracker())
    plain = judge(frozen, PlainByteTrack()), judge(whole, PlainByteTrack())
    reset = judge(frozen, PlainByteTrack(), reset_at_mode_change=True)
    changed, seen = ids_lost_to_freezes(*ours, freezes, rate_hz)
    plain_changed, _ = ids_lost_to_freezes(*plain, freezes, rate_hz)
    print(ours[0].idf1, plain[0].idf1, reset.idf1, ours[0].switches, plain[0].switches, changed, plain_changed, seen)
    assert seen > 20
    assert changed < 0.05 * seen
    assert changed < plain_changed
    assert ours[0].idf1 > plain[0].idf1 > reset.idf1
    assert ours[0].switches < plain[0].switches < reset.switches
