# SPDX-License-Identifier: Apache-2.0
"""A missing camera, as `Pairing` meets it: alone from the timeout on, in pairs when it returns."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from camera_streams import (
    MS,
    SECOND,
    START,
    SimulatedCamera,
    assert_accounted,
    at,
    lone_of,
    pairs_of,
    play,
    rgb,
    thermal,
    two_cameras,
)

from fusion_mamba_ros.streams.pairing import Camera, Frame, LoneFrame, Pair, Pairing, PairingLimits

BOTH = {Camera.RGB, Camera.THERMAL}


@pytest.mark.parametrize("gone", list(Camera))
def test_frames_come_alone_from_the_timeout_on_and_in_pairs_when_the_camera_returns(gone: Camera) -> None:
    rng = np.random.default_rng(0)
    frames = [
        frame
        for frame in two_cameras(SimulatedCamera(30, 0, 1), SimulatedCamera(30, 7, 1), 9, rng)
        if not (frame.camera is gone and 3 * SECOND <= frame.arrival_ns - START < 6 * SECOND)
    ]
    pairing = Pairing()
    released = play(pairing, frames)
    last_ns = max(f.arrival_ns for f in frames if f.camera is gone and f.arrival_ns < START + 4 * SECOND)
    back_ns = min(f.arrival_ns for f in frames if f.camera is gone and f.arrival_ns > START + 4 * SECOND)
    alone = [(time_ns, item) for time_ns, item in released if isinstance(item, LoneFrame)]
    assert alone[0][0] == last_ns + 500 * MS
    assert {item.frame.camera for _, item in alone} == {gone.other}
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
    assert pairing.missing() == {Camera.RGB}


def test_a_frozen_thermal_image_makes_the_camera_missing_at_once_and_is_never_paired() -> None:
    pairing = Pairing()
    released = play(pairing, [f for i in range(20) for f in (rgb(i * 33), thermal(i * 33, i * 33 + 1))])
    assert len(pairs_of(released)) >= 19
    released = play(
        pairing, [f for i in range(20, 40) for f in (thermal(i * 33, fresh=False), rgb(i * 33, i * 33 + 2))]
    )
    assert pairs_of(released) == []
    assert [item.stamp_ns for item in lone_of(released)] == [at(i * 33) for i in range(20, 40)]
    assert pairing.missing() == {Camera.THERMAL}
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


def test_no_camera_is_missing_before_the_timeout_has_passed_since_the_start() -> None:
    pairing = Pairing()
    assert pairing.missing() == set()
    assert pairing.match(now_ns=at(0)) == []
    assert pairing.missing(now_ns=at(499)) == set()
    assert pairing.missing(now_ns=at(500)) == BOTH


def starts(begin_ms: int, late_ms: int, seconds: float = 2) -> list[Frame]:
    """Return two cameras that begin to deliver at ``begin_ms``, thermal by ``late_ms`` later than RGB."""
    frames = two_cameras(SimulatedCamera(30), SimulatedCamera(30, 1), seconds, np.random.default_rng(0))
    moved = [replace(f, stamp_ns=f.stamp_ns + begin_ms * MS, arrival_ns=f.arrival_ns + begin_ms * MS) for f in frames]
    return [f for f in moved if f.camera is Camera.RGB or f.arrival_ns >= at(begin_ms + late_ms)]


@pytest.mark.parametrize("begin_ms", [100, 400, 30_000])
@pytest.mark.parametrize("late_ms", [1, 400])
def test_the_first_camera_to_begin_waits_for_the_other_as_long_as_for_one_that_stops(
    begin_ms: int, late_ms: int
) -> None:
    pairing = Pairing()
    assert pairing.match(now_ns=at(0)) == []
    released = play(pairing, starts(begin_ms, late_ms))
    assert lone_of(released) == []
    assert len(pairs_of(released)) >= 47
    released = play(pairing, starts(begin_ms + 60_000, late_ms))
    assert lone_of(released) == []
    assert_accounted(pairing)


@pytest.mark.parametrize("begin_ms", [100, 30_000])
def test_a_camera_that_never_begins_is_missing_from_the_timeout_after_the_start_of_the_other(begin_ms: int) -> None:
    pairing = Pairing()
    assert pairing.match(now_ns=at(0)) == []
    released = play(pairing, [f for f in starts(begin_ms, 0) if f.camera is Camera.RGB])
    assert released[0][0] == at(begin_ms + 5 + 500)
    assert [item.stamp_ns for item in lone_of(released)][:2] == [at(begin_ms), at(begin_ms) + SECOND // 30]
    assert len(lone_of(released)) == 60


def test_a_camera_slower_than_the_timeout_is_not_made_to_wait_for_a_dead_one_each_time() -> None:
    pairing = Pairing()
    released = play(pairing, [rgb(1000 * i) for i in range(10)], at(10_000))
    assert [item.stamp_ns for item in lone_of(released)] == [at(1000 * i) for i in range(1, 10)]
    assert all(time_ns == item.stamp_ns for time_ns, item in released)


def test_clocks_that_disagree_are_noticed_after_a_silence_of_both_too() -> None:
    pairing = Pairing()
    play(pairing, starts(0, 0))
    apart = [
        replace(f, stamp_ns=f.stamp_ns + 3 * SECOND) if f.camera is Camera.THERMAL else f for f in starts(60_000, 0)
    ]
    released = play(pairing, apart)
    assert pairs_of(released) == []
    assert {item.frame.camera for item in lone_of(released)} == {Camera.RGB}
    assert min(time_ns for time_ns, _ in released) == at(60_005 + 500)


def test_cameras_whose_clocks_disagree_leave_rgb_working_and_pair_again_once_corrected() -> None:
    frames = two_cameras(SimulatedCamera(30), SimulatedCamera(30, 5, clock_ms=3000), 10, np.random.default_rng(0))
    pairing = Pairing()
    released = play(pairing, frames)
    assert pairs_of(released) == []
    assert {item.frame.camera for item in lone_of(released)} == {Camera.RGB}
    assert len(lone_of(released)) > 270
    assert pairing.missing() == {Camera.THERMAL}
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
    assert pairing.missing() == {Camera.THERMAL}
    assert isinstance(item, Pair)


@pytest.mark.parametrize("latency_ms", [700, 1300, 2500])
def test_thermal_that_comes_when_its_partner_is_given_up_leaves_rgb_working(latency_ms: float) -> None:
    rng = np.random.default_rng(0)
    pairing = Pairing(PairingLimits(queue_size=10))
    frames = two_cameras(SimulatedCamera(30, 0, 1), SimulatedCamera(30, 7, 1, latency_ms=latency_ms), 9, rng)
    released = play(pairing, frames)
    assert pairs_of(released) == []
    times = [now_ns for now_ns, item in released if isinstance(item, LoneFrame) and at(6000) < now_ns < at(8900)]
    assert len(times) > 80
    assert max(b - a for a, b in itertools.pairwise(times)) < 100 * MS
    assert_accounted(pairing)
