# SPDX-License-Identifier: Apache-2.0
"""Pairing: every frame accounted for, order kept, the nearest paired, and going on when a camera fails."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from camera_streams import MS, SECOND, START, Camera, frames_of, play, two_cameras
from hypothesis import given, settings
from hypothesis import strategies as st
from test_timeline import closest_first

from fusion_mamba_ros.streams.pairing import Frame, LoneFrame, Pair, Pairing, PairingLimits, Side

RATES = [(30, 30), (30, 9), (60, 25)]
BOTH = {Side.RGB, Side.THERMAL}


def rgb(stamp_ms: float, arrival_ms: float | None = None, *, fresh: bool = True) -> Frame:
    return _frame(Side.RGB, stamp_ms, arrival_ms, fresh)


def thermal(stamp_ms: float, arrival_ms: float | None = None, *, fresh: bool = True) -> Frame:
    return _frame(Side.THERMAL, stamp_ms, arrival_ms, fresh)


def _frame(side: Side, stamp_ms: float, arrival_ms: float | None, fresh: bool) -> Frame:
    arrival = stamp_ms if arrival_ms is None else arrival_ms
    return Frame(side, START + int(stamp_ms * MS), START + int(arrival * MS), fresh=fresh)


def at(ms: float) -> int:
    return START + int(ms * MS)


def assert_accounted(pairing: Pairing, received: dict[Side, int] | None = None) -> None:
    counters = pairing.counters()
    for side, counts in ((Side.RGB, counters.rgb), (Side.THERMAL, counters.thermal)):
        assert counts.accounted == counts.received, counters
        assert min(vars(counts).values()) >= 0, counters
        if received is not None:
            assert counts.received == received[side]


def pairs_of(items: Sequence[tuple[int, Pair | LoneFrame]]) -> list[Pair]:
    return [item for _, item in items if isinstance(item, Pair)]


def lone_of(items: Sequence[tuple[int, Pair | LoneFrame]]) -> list[LoneFrame]:
    return [item for _, item in items if isinstance(item, LoneFrame)]


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
        frame = _frame(side, stamp_ms, clock_ms, fresh)
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


# A missing camera


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


# Stamps that lie


def test_zero_stamps_are_refused_and_do_not_keep_a_side_alive() -> None:
    pairing = Pairing()
    for i in range(30):
        pairing.add(rgb(i * 33))
        pairing.add(replace(thermal(i * 33), stamp_ns=0))
    assert pairing.counters().thermal.refused == 30
    assert pairing.missing(now_ns=at(990)) == {Side.THERMAL}


@pytest.mark.parametrize("side", list(Side))
def test_one_stamp_from_the_far_future_is_refused_and_costs_no_other_frame(side: Side) -> None:
    frames = two_cameras(Camera(30), Camera(30, 5), 6, np.random.default_rng(0))
    victim = [i for i, frame in enumerate(frames) if frame.side is side][90]
    frames[victim] = replace(frames[victim], stamp_ns=frames[victim].stamp_ns + 10**9 * SECOND)
    pairing = Pairing()
    released = play(pairing, frames)
    assert len(pairs_of(released)) == 179
    assert max(pair.stamp_ns for pair in pairs_of(released)) < START + 7 * SECOND
    counters = pairing.counters()
    assert (counters.rgb.refused, counters.thermal.refused) == ((1, 0) if side is Side.RGB else (0, 1))
    assert counters.clock_jumps == 0


def test_a_first_stamp_from_the_far_future_does_not_silence_the_camera() -> None:
    frames = two_cameras(Camera(30), Camera(30, 5), 6, np.random.default_rng(0))
    frames[0] = replace(frames[0], stamp_ns=frames[0].stamp_ns + 10**9 * SECOND)
    assert len(pairs_of(play(Pairing(), frames))) >= 178


def test_random_stamps_on_one_side_leave_the_other_side_working() -> None:
    rng = np.random.default_rng(0)
    frames = [
        replace(f, stamp_ns=f.stamp_ns + int(rng.integers(2, 10**6)) * SECOND) if f.side is Side.THERMAL else f
        for f in two_cameras(Camera(30), Camera(30, 5), 6, rng)
    ]
    pairing = Pairing()
    released = play(pairing, frames)
    assert len([item for item in lone_of(released) if item.frame.side is Side.RGB]) > 100
    assert_accounted(pairing)


def test_a_clock_that_steps_ahead_is_followed_from_its_second_frame() -> None:
    frames = two_cameras(Camera(30), Camera(30, 5), 6, np.random.default_rng(0))
    stepped = [
        replace(f, stamp_ns=f.stamp_ns + 3600 * SECOND) if f.arrival_ns > START + 3 * SECOND else f for f in frames
    ]
    pairing = Pairing()
    assert len(pairs_of(play(pairing, stepped))) >= 179
    assert pairing.counters().rgb.refused == 0


@pytest.mark.parametrize("sim_time", [False, True])
def test_a_bag_that_starts_over_is_paired_again_from_its_first_frames(sim_time: bool) -> None:
    frames = two_cameras(Camera(30), Camera(30, 5), 6, np.random.default_rng(0))
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
    frames = two_cameras(Camera(30), Camera(30, 5), 6, np.random.default_rng(0))
    stepped = [replace(f, stamp_ns=f.stamp_ns - 300 * MS) if f.arrival_ns > START + 3 * SECOND else f for f in frames]
    pairing = Pairing()
    assert len(pairs_of(play(pairing, stepped))) >= 174
    assert pairing.counters().rgb.late == 2


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


# Memory, limits, threads


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
    released = play(pairing, [rgb(0), thermal(40)])
    assert [item.stamp_ns for item in lone_of(released)] == [at(40)]
    pairing.limits = PairingLimits(max_offset_ns=100 * MS)
    assert pairs_of(play(pairing, [thermal(60), thermal(93)], at(400))) == []
    assert pairing.counters().rgb.unpaired == 1


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("max_offset_ns", -1, ValueError),
        ("timeout_ns", 0, ValueError),
        ("queue_size", 0, ValueError),
        ("max_age_ns", 0.5, TypeError),
    ],
)
def test_a_limit_out_of_range_is_refused_by_name(field: str, value: float, error: type[Exception]) -> None:
    with pytest.raises(error, match=field):
        PairingLimits(**{field: value})  # type: ignore[arg-type]


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
