# SPDX-License-Identifier: Apache-2.0
"""Simulate the streams of two cameras, or build frames one by one, and feed them to a `Pairing` as a node would."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fusion_mamba_ros.streams.pairing import Camera, Frame, LoneFrame, Pair, Pairing

MS = 1_000_000
SECOND = 1_000_000_000
START = 1_000 * SECOND


@dataclass(frozen=True)
class SimulatedCamera:
    """How one camera behaves: rate, phase, jitter of its stamps, lost frames, and how its messages travel.

    ``clock_ms`` is how far its clock is ahead; ``bursts`` is the share of messages that wait for the next one.
    """

    rate_hz: float
    phase_ms: float = 0.0
    jitter_ms: float = 0.0
    drop: float = 0.0
    latency_ms: float = 5.0
    clock_ms: float = 0.0
    bursts: float = 0.0


def frames_of(camera: Camera, simulated: SimulatedCamera, seconds: float, rng: np.random.Generator) -> list[Frame]:
    """Return the frames of one camera over ``seconds``, in the order of arrival."""
    taken_ms = simulated.phase_ms + np.arange(int(seconds * simulated.rate_hz)) * 1000.0 / simulated.rate_hz
    taken_ms = taken_ms + rng.uniform(-simulated.jitter_ms, simulated.jitter_ms, len(taken_ms))
    arrival_ms = taken_ms + simulated.latency_ms
    for i in np.flatnonzero(rng.random(len(taken_ms)) < simulated.bursts)[::-1]:
        if i + 1 < len(taken_ms):
            arrival_ms[i] = arrival_ms[i + 1]
    kept = rng.random(len(taken_ms)) >= simulated.drop
    return [
        Frame(camera, START + int((t + simulated.clock_ms) * MS), START + int(a * MS))
        for t, a in zip(taken_ms[kept], arrival_ms[kept], strict=True)
    ]


def two_cameras(
    rgb: SimulatedCamera, thermal: SimulatedCamera, seconds: float, rng: np.random.Generator
) -> list[Frame]:
    """Return the frames of both cameras in the order of arrival."""
    frames = frames_of(Camera.RGB, rgb, seconds, rng) + frames_of(Camera.THERMAL, thermal, seconds, rng)
    return sorted(frames, key=lambda frame: frame.arrival_ns)


def jittered(frames: Iterable[Frame], mean_delay_ms: float, rng: np.random.Generator) -> list[Frame]:
    """Return ``frames`` with a random extra delay (exponential) of each message; no message overtakes another."""
    newest_ns = dict.fromkeys(Camera, 0)
    delayed = []
    for frame in frames:
        arrival_ns = frame.arrival_ns + int(rng.exponential(mean_delay_ms * MS)) if mean_delay_ms else frame.arrival_ns
        newest_ns[frame.camera] = max(arrival_ns, newest_ns[frame.camera] + 1)
        delayed.append(replace(frame, arrival_ns=newest_ns[frame.camera]))
    return sorted(delayed, key=lambda frame: frame.arrival_ns)


def arrival_stamped(frames: Iterable[Frame]) -> list[Frame]:
    """Return ``frames`` with their arrival in place of the stamp, as with `pairing.use_arrival_time`."""
    return [replace(frame, stamp_ns=frame.arrival_ns) for frame in frames]


def play(pairing: Pairing, frames: Iterable[Frame], until_ns: int | None = None) -> list[tuple[int, Pair | LoneFrame]]:
    """Add each frame at its arrival, match at each requested wake-up, and return (time, released item) in order."""
    released: list[tuple[int, Pair | LoneFrame]] = []

    def wake_until(now_ns: int) -> None:
        while (wakeup_ns := pairing.next_wakeup_ns()) is not None and wakeup_ns <= now_ns:
            released.extend((wakeup_ns, item) for item in pairing.match(now_ns=wakeup_ns))
            again_ns = pairing.next_wakeup_ns()
            assert again_ns is None or again_ns > wakeup_ns, "requests the same wake-up again after it released nothing"

    for frame in frames:
        wake_until(frame.arrival_ns)
        pairing.add(frame)
        released.extend((frame.arrival_ns, item) for item in pairing.match(now_ns=frame.arrival_ns))
    if until_ns is not None:
        wake_until(until_ns)
    return released


def rgb(stamp_ms: float, arrival_ms: float | None = None, *, fresh: bool = True) -> Frame:
    """Return an RGB frame; stamp and arrival in milliseconds after `START`. The arrival defaults to the stamp."""
    return frame_of(Camera.RGB, stamp_ms, arrival_ms, fresh)


def thermal(stamp_ms: float, arrival_ms: float | None = None, *, fresh: bool = True) -> Frame:
    """Return a thermal frame, as `rgb` does."""
    return frame_of(Camera.THERMAL, stamp_ms, arrival_ms, fresh)


def frame_of(camera: Camera, stamp_ms: float, arrival_ms: float | None, fresh: bool) -> Frame:
    """Return a frame of either camera, as `rgb` does."""
    arrival = stamp_ms if arrival_ms is None else arrival_ms
    return Frame(camera, START + int(stamp_ms * MS), START + int(arrival * MS), fresh=fresh)


def at(ms: float) -> int:
    """Return the time ``ms`` milliseconds after `START`, in nanoseconds."""
    return START + int(ms * MS)


def assert_accounted(pairing: Pairing, received: dict[Camera, int] | None = None) -> None:
    """Assert that every frame ended in exactly one counter."""
    counters = pairing.counters()
    for camera, counts in ((Camera.RGB, counters.rgb), (Camera.THERMAL, counters.thermal)):
        assert counts.accounted == counts.received, counters
        assert min(vars(counts).values()) >= 0, counters
        if received is not None:
            assert counts.received == received[camera]


def pairs_of(items: Sequence[tuple[int, Pair | LoneFrame]]) -> list[Pair]:
    return [item for _, item in items if isinstance(item, Pair)]


def lone_of(items: Sequence[tuple[int, Pair | LoneFrame]]) -> list[LoneFrame]:
    return [item for _, item in items if isinstance(item, LoneFrame)]
