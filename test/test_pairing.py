# SPDX-License-Identifier: Apache-2.0
"""Pairing: every frame accounted for, order kept, memory bounded, from several threads too."""

from __future__ import annotations

import itertools
import sys
import threading
from dataclasses import replace

import numpy as np
from camera_streams import (
    MS,
    SECOND,
    START,
    SimulatedCamera,
    assert_accounted,
    at,
    frame_of,
    frames_of,
    lone_of,
    pairs_of,
    play,
    rgb,
    thermal,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_mamba_ros.streams.pairing import Camera, Frame, LoneFrame, Pair, Pairing, PairingLimits

# What holds for any input

any_frame = st.tuples(
    st.sampled_from(list(Camera)),
    st.sampled_from(["next", "next", "next", "next", "same", "back", "far back", "future", "zero"]),
    st.integers(0, 120),
    st.booleans() | st.just(True),
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(any_frame, max_size=60),
    st.integers(1, 6),
    st.integers(0, 80),
    st.integers(-100, 100),
)
def test_any_frames_end_in_exactly_one_counter_and_come_out_in_order(
    steps: list[tuple[Camera, str, int, bool]], queue_size: int, max_offset_ms: int, thermal_offset_ms: int
) -> None:
    limits = PairingLimits(max_offset_ms * MS, thermal_offset_ms * MS, 500 * MS, queue_size, 1000 * MS)
    pairing = Pairing(limits)
    now_ms = {Camera.RGB: 0.0, Camera.THERMAL: 0.0}
    clock_ms = 0.0
    received = {Camera.RGB: 0, Camera.THERMAL: 0}
    last_ns, jumps = 0, 0
    seen: list[Frame] = []
    for camera, kind, delta, fresh in steps:
        clock_ms += delta / 3
        step = {"next": delta + 1, "same": 0, "back": -delta, "far back": -5000}.get(kind, 0)
        now_ms[camera] += step
        stamp_ms = now_ms[camera] + (10**9 if kind == "future" else 0)
        frame = frame_of(camera, stamp_ms, clock_ms, fresh)
        pairing.add(replace(frame, stamp_ns=0) if kind == "zero" else frame)
        received[camera] += 1
        if delta % 2:
            continue
        if pairing.counters().clock_jumps != jumps:
            jumps, last_ns = pairing.counters().clock_jumps, 0
        for item in pairing.match(now_ns=at(clock_ms)):
            assert item.stamp_ns > last_ns
            last_ns = item.stamp_ns
            for taken in item.frames:
                assert all(taken is not earlier for earlier in seen)
                assert taken.fresh
                seen.append(taken)
            if isinstance(item, Pair):
                assert item.offset_ns == item.thermal.stamp_ns + limits.thermal_offset_ns - item.rgb.stamp_ns
                assert abs(item.offset_ns) <= limits.max_offset_ns
        assert_accounted(pairing, received)
        counters = pairing.counters()
        assert max(counters.rgb.queued, counters.thermal.queued) <= queue_size + 1
    pairing.clear()
    assert_accounted(pairing, received)
    assert pairing.counters().rgb.queued == pairing.counters().thermal.queued == 0


# Order, memory, threads


def test_a_late_frame_never_reorders_the_output() -> None:
    pairing = Pairing()
    released = play(
        pairing,
        [rgb(0), thermal(5), rgb(33), thermal(38), rgb(66), thermal(71), rgb(99), thermal(104), thermal(20, 110)],
    )
    stamps = [item.stamp_ns for _, item in released]
    assert stamps == sorted(stamps)
    assert pairing.counters().thermal.late == 1


def test_frames_that_arrive_out_of_order_but_in_time_are_paired() -> None:
    pairing = Pairing()
    released = play(
        pairing, [rgb(0), rgb(66, 67), rgb(33, 68), thermal(2, 70), thermal(35, 71), thermal(68, 72)], at(200)
    )
    assert [pair.offset_ns for pair in pairs_of(released)] == [2 * MS] * 3


def test_a_camera_never_holds_more_than_its_queue_or_its_age_allow() -> None:
    pairing = Pairing(PairingLimits(queue_size=5, timeout_ns=10 * SECOND, max_age_ns=300 * MS))
    for i in range(1000):
        pairing.add(rgb(i))
        assert pairing.counters().rgb.queued <= 5
    assert pairing.match(now_ns=at(999)) == []
    assert pairing.match(now_ns=at(1400)) == []
    assert pairing.counters().rgb.queued == 0
    assert pairing.counters().rgb.unpaired == 1000


def test_new_limits_hold_from_the_next_match_on() -> None:
    pairing = Pairing(PairingLimits(max_offset_ns=5 * MS))
    frames = [rgb(0), thermal(20), rgb(200)]
    assert pairs_of(play(pairing, frames)) == []
    pairing.limits = PairingLimits(max_offset_ns=50 * MS)
    (pair,) = pairing.match(now_ns=at(200))
    assert isinstance(pair, Pair)
    assert pair.offset_ns == 20 * MS


def test_new_limits_never_bring_back_what_a_lone_frame_has_overtaken() -> None:
    pairing = Pairing(PairingLimits(max_offset_ns=5 * MS, timeout_ns=30 * MS))
    released = play(pairing, [rgb(0), thermal(20), thermal(40)])
    assert [item.stamp_ns for item in lone_of(released)] == [at(20), at(40)]
    pairing.limits = PairingLimits(max_offset_ns=100 * MS)
    assert pairs_of(play(pairing, [thermal(60), thermal(93)], at(400))) == []
    assert pairing.counters().rgb.unpaired == 1


def test_lone_thermal_frames_go_on_at_once_when_their_offset_changes() -> None:
    pairing = Pairing()
    for stretch, offset_s in enumerate((0, -5, -10, 3)):
        pairing.limits = PairingLimits(thermal_offset_ns=offset_s * SECOND)
        raw_ms = [2000 * stretch + 33 * i for i in range(60)]
        stamps = [item.stamp_ns for item in lone_of(play(pairing, [thermal(ms) for ms in raw_ms]))]
        assert stamps == [at(ms + 1000 * offset_s) for ms in raw_ms]
    assert pairing.counters().thermal.late == 0


def test_another_offset_never_brings_back_what_a_lone_frame_has_overtaken() -> None:
    pairing = Pairing(PairingLimits(max_offset_ns=5 * MS, timeout_ns=30 * MS))
    released = play(pairing, [rgb(0), thermal(20)], at(35))
    assert [item.stamp_ns for item in lone_of(released)] == [at(20)]
    pairing.limits = PairingLimits(max_offset_ns=100 * MS, thermal_offset_ns=-MS)
    assert pairs_of(play(pairing, [thermal(60), thermal(93)], at(400))) == []
    assert pairing.counters().rgb.unpaired == 1


def test_a_frame_whose_message_cannot_be_decoded_is_counted_as_refused() -> None:
    pairing = Pairing()
    play(pairing, [rgb(0), thermal(5), rgb(33)])
    pairing.count_refused(Camera.THERMAL)
    counters = pairing.counters()
    assert (counters.thermal.received, counters.thermal.paired, counters.thermal.refused) == (2, 1, 1)
    assert_accounted(pairing)


def test_a_pair_further_apart_than_frames_are_usually_held_is_still_found() -> None:
    limits = PairingLimits(max_offset_ns=3 * SECOND, timeout_ns=10 * SECOND, max_age_ns=SECOND)
    released = play(Pairing(limits), [rgb(0), thermal(2500), rgb(9000)], at(9000))
    assert [pair.offset_ns for pair in pairs_of(released)] == [2500 * MS]


def test_threads_that_add_match_and_count_at_once_lose_no_frame() -> None:
    pairing = Pairing()
    # Threads run in any order, so that arrival times of their own would look like a clock that jumps back.
    now_ns = START + 2 * SECOND
    frames = {
        camera: [
            replace(frame, arrival_ns=now_ns)
            for frame in frames_of(camera, SimulatedCamera(1000), 2, np.random.default_rng(0))
        ]
        for camera in Camera
    }
    released: list[Pair | LoneFrame] = []
    sums_wrong: list[object] = []
    done = threading.Event()

    def feed(camera: Camera) -> None:
        for frame in frames[camera]:
            pairing.add(frame)

    def take() -> None:
        while not done.is_set():
            released.extend(pairing.match(now_ns=now_ns))

    def count() -> None:
        while not done.is_set():
            counters = pairing.counters()
            pairing.next_wakeup_ns()
            if any(c.accounted != c.received for c in (counters.rgb, counters.thermal)):
                sums_wrong.append(counters)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        feeders = [threading.Thread(target=feed, args=(camera,)) for camera in Camera]
        others = [threading.Thread(target=take), threading.Thread(target=count)]
        for thread in feeders + others:
            thread.start()
        for thread in feeders:
            thread.join(30)
        done.set()
        for thread in others:
            thread.join(30)
    finally:
        sys.setswitchinterval(interval)
    assert not sums_wrong
    released.extend(pairing.match(now_ns=now_ns))
    assert_accounted(pairing, dict.fromkeys(Camera, 2000))
    counters = pairing.counters()
    taken = sum(frame.camera is Camera.RGB for item in released for frame in item.frames)
    assert taken == counters.rgb.paired + counters.rgb.alone
    stamps = [item.stamp_ns for item in released]
    assert len(stamps) > 0 and counters.clock_jumps == 0
    assert all(earlier < later for earlier, later in itertools.pairwise(stamps))
