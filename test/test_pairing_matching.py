# SPDX-License-Identifier: Apache-2.0
"""Which frames `Pairing` pairs, against brute force over the whole recording, and how long a pair waits."""

from __future__ import annotations

import numpy as np
import pytest
from camera_streams import (
    MS,
    SECOND,
    SimulatedCamera,
    assert_accounted,
    lone_of,
    pairs_of,
    play,
    two_cameras,
)
from test_timeline import closest_first

from fusion_mamba_ros.streams.pairing import Camera, Frame, Pair, Pairing, PairingLimits

RATES = [(30, 30), (30, 9), (60, 25)]


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
        SimulatedCamera(rate, rng.uniform(0, 60), jitter_ms, latency_ms=rng.uniform(0, 30), clock_ms=clock)
        for rate, clock in zip(rates, (0.0, clock_ms), strict=True)
    ]
    frames = two_cameras(cameras[0], cameras[1], 4, rng)
    pairing = Pairing(PairingLimits(thermal_offset_ns=int(-clock_ms * MS)))
    released = play(pairing, frames, frames[-1].arrival_ns + 100 * MS)
    expected = closest_first(
        [frame.stamp_ns for frame in frames if frame.camera is Camera.RGB],
        [frame.stamp_ns - int(clock_ms * MS) for frame in frames if frame.camera is Camera.THERMAL],
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
        SimulatedCamera(rate, rng.uniform(0, 60), rng.uniform(0, 4), 0.1, rng.uniform(0, 30), bursts=0.1 * (seed % 2))
        for rate in rates
    ]
    frames = two_cameras(cameras[0], cameras[1], 4, rng)
    released = play(Pairing(), frames, frames[-1].arrival_ns + 100 * MS)
    by_camera = {
        camera: sorted((f for f in frames if f.camera is camera), key=lambda f: f.stamp_ns) for camera in Camera
    }
    period_ns = {camera: SECOND / simulated.rate_hz for camera, simulated in zip(Camera, cameras, strict=True)}
    home = {frame: (time_ns, item) for time_ns, item in released if isinstance(item, Pair) for frame in item.frames}
    assert len(home) >= 0.7 * 2 * 4 * min(rates)

    def distance(frame: Frame) -> float:
        return abs(home[frame][1].offset_ns) if frame in home else float("inf")

    def came_early(frame: Frame) -> bool:
        before = by_camera[frame.camera][by_camera[frame.camera].index(frame) - 1]
        return 0 < frame.stamp_ns - before.stamp_ns < period_ns[frame.camera]

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
        rivals = [f for f in by_camera[first.camera] if f.arrival_ns <= time_ns]
        return due and any(abs(f.stamp_ns - other.stamp_ns) < gap for f in rivals)

    for r in by_camera[Camera.RGB]:
        for t in by_camera[Camera.THERMAL]:
            gap = abs(r.stamp_ns - t.stamp_ns)
            if gap <= 50 * MS and gap < min(distance(r), distance(t)):
                assert excused(r, t, gap), (r, t, home.get(r), home.get(t))


@pytest.mark.parametrize("rates", RATES)
def test_a_pair_waits_for_at_most_one_period_of_the_faster_camera(rates: tuple[int, int]) -> None:
    rng = np.random.default_rng(5)
    cameras = [SimulatedCamera(rate, rng.uniform(0, 60), 3, 0.2, rng.uniform(0, 30)) for rate in rates]
    frames = two_cameras(cameras[0], cameras[1], 20, rng)
    waits = [
        time_ns - max(frame.arrival_ns for frame in pair.frames)
        for time_ns, pair in play(Pairing(), frames)
        if isinstance(pair, Pair)
    ][20:]
    assert max(waits) <= (1000 / max(rates) + 10 + 3) * MS


def test_steady_cameras_are_paired_the_moment_the_second_frame_comes() -> None:
    frames = two_cameras(SimulatedCamera(30), SimulatedCamera(30, 12), 5, np.random.default_rng(0))
    waits = [t - max(f.arrival_ns for f in p.frames) for t, p in play(Pairing(), frames) if isinstance(p, Pair)]
    assert set(waits[10:]) == {0}


def test_surplus_rgb_frames_of_a_healthy_30_and_9_hz_system_are_unpaired_and_not_published() -> None:
    frames = two_cameras(SimulatedCamera(30), SimulatedCamera(9, 4), 10, np.random.default_rng(0))
    pairing = Pairing()
    released = play(pairing, frames)
    assert not lone_of(released)
    counters = pairing.counters()
    assert counters.thermal.paired == 90
    assert counters.rgb.unpaired + counters.rgb.queued == 210
