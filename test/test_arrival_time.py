# SPDX-License-Identifier: Apache-2.0
"""What pairing by arrival time costs on jittered streams, and what it does not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from camera_streams import (
    MS,
    SimulatedCamera,
    arrival_stamped,
    assert_accounted,
    jittered,
    lone_of,
    pairs_of,
    play,
    two_cameras,
)

from fusion_mamba_ros.streams.pairing import Frame, Pairing, PairingLimits


def travelled(mean_delay_ms: float) -> list[Frame]:
    rgb, thermal = SimulatedCamera(30, 0, 1, latency_ms=12), SimulatedCamera(30, 3, 1, latency_ms=8)
    recorded = two_cameras(rgb, thermal, 20, np.random.default_rng(0))
    return jittered(recorded, mean_delay_ms, np.random.default_rng(1))


def offsets_ms(frames: list[Frame], before: list[Frame]) -> list[float]:
    """Return the true time between the images of each pair. ``before`` holds the same frames with true stamps."""
    pairing = Pairing(PairingLimits())
    items = play(pairing, frames, frames[-1].arrival_ns + 100 * MS)
    assert_accounted(pairing)
    assert lone_of(items) == []
    true_ns = {id(frame): original.stamp_ns for frame, original in zip(frames, before, strict=True)}
    return [abs(true_ns[id(pair.thermal)] - true_ns[id(pair.rgb)]) / MS for pair in pairs_of(items)]


def test_without_jitter_of_the_transport_arrival_pairs_as_stamps_do() -> None:
    frames = travelled(0)
    assert offsets_ms(arrival_stamped(frames), frames) == pytest.approx(offsets_ms(frames, frames))


def test_jitter_of_the_transport_costs_accuracy_and_hardly_any_pair() -> None:
    by_arrival, by_stamp = [], []
    for mean_delay_ms in (3, 10, 30):
        frames = travelled(mean_delay_ms)
        by_stamp.append(offsets_ms(frames, frames))
        by_arrival.append(offsets_ms(arrival_stamped(frames), frames))
    means = [float(np.mean(offsets)) for offsets in by_arrival]
    assert means == sorted(means)
    for stamps in by_stamp:
        assert np.mean(stamps) < 5
    # Delays of 3 ms mix up no images that are 33 ms apart; longer ones do.
    assert means[0] == pytest.approx(float(np.mean(by_stamp[0])), rel=0.05)
    assert means[1] > 1.3 * np.mean(by_stamp[1])
    assert len(by_arrival[0]) > 0.95 * len(by_stamp[0])


def test_equal_arrival_times_of_coarse_simulated_time_lose_no_camera() -> None:
    tick_ns = 25 * MS
    frames = [
        Frame(frame.camera, -(-frame.arrival_ns // tick_ns) * tick_ns, -(-frame.arrival_ns // tick_ns) * tick_ns)
        for frame in travelled(3)
    ]
    pairing = Pairing(PairingLimits())
    items = play(pairing, frames, frames[-1].arrival_ns + 100 * MS)
    assert_accounted(pairing)
    assert lone_of(items) == []
    stamps = [pair.stamp_ns for pair in pairs_of(items)]
    assert stamps == sorted(set(stamps))
    assert len(stamps) > 450
