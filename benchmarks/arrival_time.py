# SPDX-License-Identifier: Apache-2.0
"""Measure what pairing by arrival time costs, on streams whose messages travel for varying times.

    python benchmarks/arrival_time.py

Each stream plays in simulated time, so the results are equal on every machine. The offset is the true time between the
two images of a pair, whatever the pairing used. The stamp error is the published stamp minus the true time of the RGB
image.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent.parent / "test"))
from camera_streams import MS, SimulatedCamera, arrival_stamped, jittered, pairs_of, play, two_cameras

from fusion_mamba_ros.streams.pairing import Frame, Pairing, PairingLimits

SECONDS = 60


def figures(frames: list[Frame], true_ns: dict[int, int]) -> list[str]:
    """Return pairs, the true offset (mean, p95) and the error of the stamps (mean, p95), as text."""
    pairs = pairs_of(play(Pairing(PairingLimits()), frames, frames[-1].arrival_ns + 100 * MS))
    offsets = [abs(true_ns[id(pair.thermal)] - true_ns[id(pair.rgb)]) / MS for pair in pairs]
    errors = [abs(pair.stamp_ns - true_ns[id(pair.rgb)]) / MS for pair in pairs]
    numbers = [np.mean(offsets), np.quantile(offsets, 0.95), np.mean(errors), np.quantile(errors, 0.95)]
    return [str(len(pairs)), *(f"{number:.1f}" for number in numbers)]


def main() -> None:
    """Print the table."""
    columns = ("cameras", "mean extra delay", "pairing by", "pairs", "offset", "p95", "stamp error", "p95")
    table = Table(*columns, title=f"{SECONDS} s each, max offset 50 ms, times in ms")
    for name, thermal_hz in (("30/30 Hz", 30), ("30/9 Hz", 9)):
        recorded = two_cameras(
            SimulatedCamera(30, 0, 1, latency_ms=12),
            SimulatedCamera(thermal_hz, 3, 1, latency_ms=8),
            SECONDS,
            np.random.default_rng(0),
        )
        for delay_ms in (0, 3, 10, 30):
            travelled = jittered(recorded, delay_ms, np.random.default_rng(1))
            for rule, frames in (("stamp", travelled), ("arrival", arrival_stamped(travelled))):
                true_ns = {id(frame): before.stamp_ns for frame, before in zip(frames, travelled, strict=True)}
                table.add_row(name, str(delay_ms), rule, *figures(frames, true_ns))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
