# SPDX-License-Identifier: Apache-2.0
"""A missing camera, as `Pairing` meets it: alone from the timeout on, in pairs when it returns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from camera_streams import (
    MS,
    SECOND,
    START,
    Camera,
    assert_accounted,
    at,
    lone_of,
    pairs_of,
    play,
    rgb,
    thermal,
    two_cameras,
)

from fusion_mamba_ros.streams.pairing import LoneFrame, Pair, Pairing, PairingLimits, Side

BOTH = {Side.RGB, Side.THERMAL}


@pytest.mark.parametrize("gone", list(Side))
def test_frames_come_alone_from_the_timeout_on_and_in_pairs_when_the_camera_returns(gone: Side) -> None:
    rng = np.random.default_rng(0)
    frames = [
        frame
        for frame in two_cameras(Camera(30, 0, 1), Camera(30, 7, 1), 9, rng)
        if not (frame.side is gone and 3 * SECOND <= frame.arrival_ns - START < 6 * SECOND)
    ]
    pairing = Pairing()
    released = play(pairing, frames)
    last_ns = max(f.arrival_ns for f in frames if f.side is gone and f.arrival_ns < START + 4 * SECOND)
    back_ns = min(f.arrival_ns for f in frames if f.side is gone and f.arrival_ns > START + 4 * SECOND)
    alone = [(time_ns, item) for time_ns, item in released if isinstance(item, LoneFrame)]
    assert alone[0][0] == last_ns + 500 * MS
    assert {item.frame.side for _, item in alone} == {gone.other}
    assert all(time_ns < back_ns for time_ns, _ in alone)
    at_once = [time_ns - item.frame.arrival_ns for time_ns, item in alone if time_ns > last_ns + 500 * MS]
    assert set(at_once) == {0}
    assert len(at_once) > 70
    assert min(t for t, item in released if isinstance(item, Pair) and t > last_ns + SECOND) <= back_ns + 45 * MS
    stamps = [item.stamp_ns for _, item in released]
    assert stamps == sorted(set(stamps))
    assert_accounted(pairing)


def test_a_lone_thermal_frame_carries_its_stamp_on_the_reference_clock() -> None:
    pairing = Pairing(PairingLimits(thermal_offset_ns=-20 * MS))
    assert play(pairing, [thermal(100), thermal(300)]) == []
    assert pairing.next_wakeup_ns() == at(600)
    released = pairing.match(now_ns=at(600))
    assert [item.stamp_ns for item in released if isinstance(item, LoneFrame)] == [at(80), at(280)]
    assert pairing.missing() == {Side.RGB}


def test_a_frozen_thermal_picture_makes_the_side_missing_at_once_and_is_never_paired() -> None:
    pairing = Pairing()
    released = play(pairing, [f for i in range(20) for f in (rgb(i * 33), thermal(i * 33, i * 33 + 1))])
    assert len(pairs_of(released)) >= 19
    released = play(
        pairing, [f for i in range(20, 40) for f in (thermal(i * 33, fresh=False), rgb(i * 33, i * 33 + 2))]
    )
    assert pairs_of(released) == []
    assert [item.stamp_ns for item in lone_of(released)] == [at(i * 33) for i in range(20, 40)]
    assert pairing.missing() == {Side.THERMAL}
    assert pairing.counters().thermal.unpaired == 20
    released = play(pairing, [f for i in range(40, 60) for f in (thermal(i * 33), rgb(i * 33, i * 33 + 2))])
    assert len(pairs_of(released)) == 20
    assert pairing.missing() == set()


def test_both_cameras_gone_leave_nothing_to_wait_for() -> None:
    pairing = Pairing()
    play(pairing, [f for i in range(20) for f in (rgb(i * 33), thermal(i * 33))], at(5000))
    assert pairing.missing(now_ns=at(5000)) == BOTH
    assert pairing.next_wakeup_ns() is None
    assert pairing.counters().rgb.queued == 0


def test_no_side_is_missing_before_the_timeout_has_passed_since_the_start() -> None:
    pairing = Pairing()
    assert pairing.missing() == set()
    assert pairing.match(now_ns=at(0)) == []
    assert pairing.missing(now_ns=at(499)) == set()
    assert pairing.missing(now_ns=at(500)) == BOTH


def test_cameras_whose_clocks_disagree_leave_rgb_working_and_pair_again_once_corrected() -> None:
    frames = two_cameras(Camera(30), Camera(30, 5, clock_ms=3000), 10, np.random.default_rng(0))
    pairing = Pairing()
    released = play(pairing, frames)
    assert pairs_of(released) == []
    assert {item.frame.side for item in lone_of(released)} == {Side.RGB}
    assert len(lone_of(released)) > 270
    assert pairing.missing() == {Side.THERMAL}
    pairing.limits = PairingLimits(thermal_offset_ns=-3000 * MS)
    more = [replace(f, stamp_ns=f.stamp_ns + 10 * SECOND, arrival_ns=f.arrival_ns + 10 * SECOND) for f in frames]
    assert len(pairs_of(play(pairing, more))) >= 298
    assert_accounted(pairing)


def test_clocks_that_disagree_are_noticed_without_another_frame() -> None:
    pairing = Pairing()
    assert play(pairing, [rgb(0), thermal(3000, 1), rgb(300), thermal(3300, 301)]) == []
    assert pairing.next_wakeup_ns() == at(500)
    assert [type(item) for item in pairing.match(now_ns=at(500))] == [LoneFrame] * 2


def test_a_pair_that_still_waits_when_a_camera_goes_missing_comes_as_a_pair() -> None:
    pairing = Pairing(PairingLimits(timeout_ns=20 * MS))
    assert play(pairing, [thermal(0), rgb(15)]) == []
    (item,) = pairing.match(now_ns=at(20))
    assert pairing.missing() == {Side.THERMAL}
    assert isinstance(item, Pair)
