# SPDX-License-Identifier: Apache-2.0
"""Stamps that lie, as `Pairing` meets them: refused, or followed once a second frame confirms them."""

from __future__ import annotations

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

from fusion_mamba_ros.streams.pairing import Camera, Pairing


def test_zero_stamps_are_refused_and_do_not_keep_a_camera_alive() -> None:
    pairing = Pairing()
    for i in range(30):
        pairing.add(rgb(i * 33))
        pairing.add(replace(thermal(i * 33), stamp_ns=0))
    assert pairing.counters().thermal.refused == 30
    assert pairing.missing(now_ns=at(990)) == {Camera.THERMAL}


@pytest.mark.parametrize("camera", list(Camera))
def test_one_stamp_from_the_far_future_is_refused_and_costs_no_other_frame(camera: Camera) -> None:
    frames = two_cameras(SimulatedCamera(30), SimulatedCamera(30, 5), 6, np.random.default_rng(0))
    victim = [i for i, frame in enumerate(frames) if frame.camera is camera][90]
    frames[victim] = replace(frames[victim], stamp_ns=frames[victim].stamp_ns + 10**9 * SECOND)
    pairing = Pairing()
    released = play(pairing, frames)
    assert len(pairs_of(released)) == 179
    assert max(pair.stamp_ns for pair in pairs_of(released)) < START + 7 * SECOND
    counters = pairing.counters()
    assert (counters.rgb.refused, counters.thermal.refused) == ((1, 0) if camera is Camera.RGB else (0, 1))
    assert counters.clock_jumps == 0


def test_a_first_stamp_from_the_far_future_does_not_silence_the_camera() -> None:
    frames = two_cameras(SimulatedCamera(30), SimulatedCamera(30, 5), 6, np.random.default_rng(0))
    frames[0] = replace(frames[0], stamp_ns=frames[0].stamp_ns + 10**9 * SECOND)
    assert len(pairs_of(play(Pairing(), frames))) >= 178


def test_random_stamps_of_one_camera_leave_the_other_working() -> None:
    rng = np.random.default_rng(0)
    frames = [
        replace(f, stamp_ns=f.stamp_ns + int(rng.integers(2, 10**6)) * SECOND) if f.camera is Camera.THERMAL else f
        for f in two_cameras(SimulatedCamera(30), SimulatedCamera(30, 5), 6, rng)
    ]
    pairing = Pairing()
    released = play(pairing, frames)
    assert len([item for item in lone_of(released) if item.frame.camera is Camera.RGB]) > 100
    assert_accounted(pairing)


def test_a_clock_that_steps_ahead_is_followed_from_its_second_frame() -> None:
    frames = two_cameras(SimulatedCamera(30), SimulatedCamera(30, 5), 6, np.random.default_rng(0))
    stepped = [
        replace(f, stamp_ns=f.stamp_ns + 3600 * SECOND) if f.arrival_ns > START + 3 * SECOND else f for f in frames
    ]
    pairing = Pairing()
    assert len(pairs_of(play(pairing, stepped))) >= 179
    assert pairing.counters().rgb.refused == 0


@pytest.mark.parametrize("sim_time", [False, True])
def test_a_bag_that_starts_over_is_paired_again_from_its_first_frames(sim_time: bool) -> None:
    frames = two_cameras(SimulatedCamera(30), SimulatedCamera(30, 5), 6, np.random.default_rng(0))
    pairing = Pairing()
    counts = []
    for lap in range(3):
        shift_ns = 0 if sim_time else lap * 7 * SECOND
        again = [replace(f, arrival_ns=f.arrival_ns + shift_ns) for f in frames]
        counts.append(len(pairs_of(play(pairing, again))))
    assert counts[0] == 180
    assert min(counts) >= 178
    assert pairing.counters().clock_jumps >= 2
    assert_accounted(pairing)


def test_a_clock_that_steps_back_a_little_is_followed_after_three_frames() -> None:
    frames = two_cameras(SimulatedCamera(30), SimulatedCamera(30, 5), 6, np.random.default_rng(0))
    stepped = [replace(f, stamp_ns=f.stamp_ns - 300 * MS) if f.arrival_ns > START + 3 * SECOND else f for f in frames]
    pairing = Pairing()
    assert len(pairs_of(play(pairing, stepped))) >= 174
    assert pairing.counters().rgb.late == 2
