# SPDX-License-Identifier: Apache-2.0
"""Pairing: every frame accounted for, order kept, the nearest paired."""

from __future__ import annotations

import sys
import threading
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
    frame_of,
    frames_of,
    lone_of,
    pairs_of,
    play,
    rgb,
    thermal,
    two_cameras,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from test_timeline import closest_first

from fusion_mamba_ros.streams.pairing import Frame, LoneFrame, Pair, Pairing, PairingLimits, Side

RATES = [(30, 30), (30, 9), (60, 25)]


# What holds for any input

any_frame = st.tuples(
    st.sampled_from(list(Side)),
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
    steps: list[tuple[Side, str, int, bool]], queue_size: int, max_offset_ms: int, thermal_offset_ms: int
) -> None:
    limits = PairingLimits(max_offset_ms * MS, thermal_offset_ms * MS, 500 * MS, queue_size, 1000 * MS)
    pairing = Pairing(limits)
    now_ms = {Side.RGB: 0.0, Side.THERMAL: 0.0}
    clock_ms = 0.0
    received = {Side.RGB: 0, Side.THERMAL: 0}
    last_ns, jumps = 0, 0
    seen: list[Frame] = []
    for side, kind, delta, fresh in steps:
        clock_ms += delta / 3
        step = {"next": delta + 1, "same": 0, "back": -delta, "far back": -5000}.get(kind, 0)
        now_ms[side] += step
        stamp_ms = now_ms[side] + (10**9 if kind == "future" else 0)
        frame = frame_of(side, stamp_ms, clock_ms, fresh)
        pairing.add(replace(frame, stamp_ns=0) if kind == "zero" else frame)
        received[side] += 1
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


# The matching against brute force


@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("clock_ms", [0.0, 137.0])
@pytest.mark.parametrize("seed", range(8))
def test_healthy_streams_are_paired_as_the_brute_force_over_the_whole_recording_does(
    rates: tuple[int, int], clock_ms: float, seed: int
) -> None:
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    jitter_ms = 0.5 if seed % 2 else 0.0
    cameras = [
        Camera(rate, rng.uniform(0, 60), jitter_ms, latency_ms=rng.uniform(0, 30), clock_ms=clock)
        for rate, clock in zip(rates, (0.0, clock_ms), strict=True)
    ]
    frames = two_cameras(*cameras, seconds=4, rng=rng)
    pairing = Pairing(PairingLimits(thermal_offset_ns=int(-clock_ms * MS)))
    released = play(pairing, frames, frames[-1].arrival_ns + 100 * MS)
    expected = closest_first(
        [frame.stamp_ns for frame in frames if frame.side is Side.RGB],
        [frame.stamp_ns - int(clock_ms * MS) for frame in frames if frame.side is Side.THERMAL],
        50 * MS,
    )
    assert [(p.rgb.stamp_ns, p.rgb.stamp_ns + p.offset_ns) for p in pairs_of(released)] == expected
    assert not lone_of(released)
    assert len(expected) >= 0.95 * 4 * min(rates)
    assert_accounted(pairing)


@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("seed", range(12))
def test_rough_streams_are_paired_as_well_as_the_wait_of_one_period_allows(rates: tuple[int, int], seed: int) -> None:
    """Jitter, losses and bursts: two frames nearer to each other than to what they were paired with need an excuse."""
    print(f"seed {seed}")
    rng = np.random.default_rng(1000 + seed)
    cameras = [
        Camera(rate, rng.uniform(0, 60), rng.uniform(0, 4), 0.1, rng.uniform(0, 30), bursts=0.1 * (seed % 2))
        for rate in rates
    ]
    frames = two_cameras(*cameras, seconds=4, rng=rng)
    released = play(Pairing(), frames, frames[-1].arrival_ns + 100 * MS)
    by_side = {side: sorted((f for f in frames if f.side is side), key=lambda f: f.stamp_ns) for side in Side}
    period_ns = {side: SECOND / camera.rate_hz for side, camera in zip(Side, cameras, strict=True)}
    home = {frame: (time_ns, item) for time_ns, item in released if isinstance(item, Pair) for frame in item.frames}
    assert len(home) >= 0.7 * 2 * 4 * min(rates)

    def distance(frame: Frame) -> float:
        return abs(home[frame][1].offset_ns) if frame in home else float("inf")

    def came_early(frame: Frame) -> bool:
        before = by_side[frame.side][by_side[frame.side].index(frame) - 1]
        return 0 < frame.stamp_ns - before.stamp_ns < period_ns[frame.side]

    def excused(r: Frame, t: Frame, gap: int) -> bool:
        complete_ns = max(r.arrival_ns, t.arrival_ns)
        if any(
            (r.stamp_ns - p.rgb.stamp_ns) * (t.stamp_ns - p.thermal.stamp_ns) < 0
            and (time_ns <= complete_ns or abs(p.offset_ns) < gap)
            for time_ns, p in home.values()
        ):
            return True  # They lie on both sides of a nearer or an earlier pair.
        first, other = sorted((r, t), key=lambda f: home[f][0] if f in home else float("inf"))
        if first not in home:
            return False
        time_ns, pair = home[first]
        due = time_ns >= max(f.arrival_ns for f in pair.frames) + min(period_ns.values())
        if time_ns <= complete_ns:
            return due or came_early(other)
        rivals = [f for f in by_side[first.side] if f.arrival_ns <= time_ns]
        return due and any(abs(f.stamp_ns - other.stamp_ns) < gap for f in rivals)

    for r in by_side[Side.RGB]:
        for t in by_side[Side.THERMAL]:
            gap = abs(r.stamp_ns - t.stamp_ns)
            if gap <= 50 * MS and gap < min(distance(r), distance(t)):
                assert excused(r, t, gap), (r, t, home.get(r), home.get(t))


@pytest.mark.parametrize("rates", RATES)
def test_a_pair_waits_for_at_most_one_period_of_the_faster_camera(rates: tuple[int, int]) -> None:
    rng = np.random.default_rng(5)
    cameras = [Camera(rate, rng.uniform(0, 60), 3, 0.2, rng.uniform(0, 30)) for rate in rates]
    frames = two_cameras(*cameras, seconds=20, rng=rng)
    waits = [
        time_ns - max(frame.arrival_ns for frame in pair.frames)
        for time_ns, pair in play(Pairing(), frames)
        if isinstance(pair, Pair)
    ][20:]
    assert max(waits) <= (1000 / max(rates) + 10 + 3) * MS


def test_steady_cameras_are_paired_the_moment_the_second_frame_comes() -> None:
    frames = two_cameras(Camera(30), Camera(30, 12), 5, np.random.default_rng(0))
    waits = [t - max(f.arrival_ns for f in p.frames) for t, p in play(Pairing(), frames) if isinstance(p, Pair)]
    assert set(waits[10:]) == {0}


def test_surplus_rgb_frames_of_a_healthy_30_and_9_hz_system_are_unpaired_and_not_published() -> None:
    frames = two_cameras(Camera(30), Camera(9, 4), 10, np.random.default_rng(0))
    pairing = Pairing()
    released = play(pairing, frames)
    assert not lone_of(released)
    counters = pairing.counters()
    assert counters.thermal.paired == 90
    assert counters.rgb.unpaired + counters.rgb.queued == 210


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


def test_a_side_never_holds_more_than_its_queue_or_its_age_allow() -> None:
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


def test_a_frame_whose_message_cannot_be_decoded_is_counted_as_refused() -> None:
    pairing = Pairing()
    play(pairing, [rgb(0), thermal(5), rgb(33)])
    pairing.count_refused(Side.THERMAL)
    counters = pairing.counters()
    assert (counters.thermal.received, counters.thermal.paired, counters.thermal.refused) == (2, 1, 1)
    assert_accounted(pairing)


def test_a_pair_further_apart_than_frames_are_usually_held_is_still_found() -> None:
    limits = PairingLimits(max_offset_ns=3 * SECOND, timeout_ns=10 * SECOND, max_age_ns=SECOND)
    released = play(Pairing(limits), [rgb(0), thermal(2500), rgb(9000)], at(9000))
    assert [pair.offset_ns for pair in pairs_of(released)] == [2500 * MS]


def test_threads_that_add_match_and_count_at_once_lose_no_frame() -> None:
    pairing = Pairing()
    frames = {side: frames_of(side, Camera(1000), 2, np.random.default_rng(0)) for side in Side}
    released: list[Pair | LoneFrame] = []
    sums_wrong: list[object] = []
    done = threading.Event()

    def feed(side: Side) -> None:
        for frame in frames[side]:
            pairing.add(frame)

    def take() -> None:
        while not done.is_set():
            released.extend(pairing.match(now_ns=START + 2 * SECOND))

    def count() -> None:
        while not done.is_set():
            counters = pairing.counters()
            pairing.next_wakeup_ns()
            if any(c.accounted != c.received for c in (counters.rgb, counters.thermal)):
                sums_wrong.append(counters)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        feeders = [threading.Thread(target=feed, args=(side,)) for side in Side]
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
    released.extend(pairing.match(now_ns=START + 2 * SECOND))
    assert_accounted(pairing, dict.fromkeys(Side, 2000))
    counters = pairing.counters()
    taken = sum(frame.side is Side.RGB for item in released for frame in item.frames)
    assert taken == counters.rgb.paired + counters.rgb.alone
    stamps = [item.stamp_ns for item in released]
    assert stamps == sorted(set(stamps))
