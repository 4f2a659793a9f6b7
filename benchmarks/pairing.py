# SPDX-License-Identifier: Apache-2.0
"""Compare `Pairing` with the rule of `message_filters.ApproximateTimeSynchronizer` on the same streams.

    python benchmarks/pairing.py --out pairing.json

Every stream plays in simulated time, so the results are equal on every machine. Only the last column, the computing
time of one frame, is measured. If `message_filters` can be imported, its class also runs on each stream. It must give
the same pairs as the rule in this file.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent.parent / "test"))
from camera_streams import MS, SECOND, START, SimulatedCamera, play, two_cameras

from fusion_mamba_ros.streams.pairing import Camera, Frame, LoneFrame, Pair, Pairing, PairingLimits

SECONDS = 60
MAX_OFFSET_NS = 50 * MS
QUEUE_SIZE = 20
Release = tuple[int, Frame | None, Frame | None]


class GreedyRule:
    """Pair a new frame immediately with the nearest queued frame of the other camera, if it is nearer than the slop."""

    def __init__(self) -> None:
        self._queues: dict[Camera, dict[int, Frame]] = {camera: {} for camera in Camera}

    def add(self, frame: Frame) -> tuple[Frame, Frame] | None:
        """Add a frame; return the pair (RGB, thermal) that it completes, or None."""
        mine, others = self._queues[frame.camera], self._queues[frame.camera.other]
        mine[frame.stamp_ns] = frame
        while len(mine) > QUEUE_SIZE:
            del mine[min(mine)]
        near = [stamp for stamp in others if abs(stamp - frame.stamp_ns) < MAX_OFFSET_NS]
        if frame.stamp_ns not in mine or not near:
            return None
        stamp = min(near, key=lambda s: abs(s - frame.stamp_ns))
        other = others[stamp]
        del mine[frame.stamp_ns], others[stamp]
        return (frame, other) if frame.camera is Camera.RGB else (other, frame)


def run_greedy(frames: list[Frame]) -> list[Release]:
    """Return the pairs that the rule of ApproximateTimeSynchronizer releases."""
    rule = GreedyRule()
    pairs = ((frame.arrival_ns, rule.add(frame)) for frame in frames)
    return [(time_ns, pair[0], pair[1]) for time_ns, pair in pairs if pair]


def run_message_filters(frames: list[Frame]) -> list[Release]:
    """Return the pairs that the class ApproximateTimeSynchronizer releases. Raises ``ImportError`` without ROS."""
    from message_filters import ApproximateTimeSynchronizer, SimpleFilter
    from rclpy.time import Time

    filters = {camera: SimpleFilter() for camera in Camera}
    synchronizer = ApproximateTimeSynchronizer(list(filters.values()), QUEUE_SIZE, MAX_OFFSET_NS / SECOND)
    released: list[Release] = []
    synchronizer.registerCallback(lambda rgb, thermal: released.append((now_ns, rgb.frame, thermal.frame)))
    for frame in frames:
        now_ns = frame.arrival_ns
        stamp = Time(nanoseconds=frame.stamp_ns).to_msg()
        filters[frame.camera].signalMessage(SimpleNamespace(header=SimpleNamespace(stamp=stamp), frame=frame))
    return released


def run_pairing(frames: list[Frame]) -> list[Release]:
    """Return the pairs and the single frames that `Pairing` releases."""
    pairing = Pairing(PairingLimits(max_offset_ns=MAX_OFFSET_NS, queue_size=QUEUE_SIZE))
    return [(time_ns, *_by_camera(item)) for time_ns, item in play(pairing, frames, frames[-1].arrival_ns + 50 * MS)]


def _by_camera(item: Pair | LoneFrame) -> tuple[Frame | None, Frame | None]:
    if isinstance(item, Pair):
        return item.rgb, item.thermal
    return (item.frame, None) if item.frame.camera is Camera.RGB else (None, item.frame)


def streams() -> dict[str, list[Frame]]:
    """Return named recordings of one minute; every call returns the same recordings."""

    def record(rgb: SimulatedCamera, thermal: SimulatedCamera) -> list[Frame]:
        return two_cameras(rgb, thermal, SECONDS, np.random.default_rng(0))

    free = SimulatedCamera(30, 0, 1, latency_ms=12), SimulatedCamera(30, 10, 1, latency_ms=8)
    gap = [f for f in record(*free) if f.camera is Camera.RGB or not 20 <= (f.arrival_ns - START) / SECOND < 23]
    slow = record(free[0], replace(free[1], rate_hz=9))
    lap = [f for f in slow if f.arrival_ns < START + 30 * SECOND]
    loop = lap + [replace(f, arrival_ns=f.arrival_ns + 30 * SECOND) for f in lap]
    return {
        "30/30 Hz, 10 ms apart": record(*free),
        "30/30 Hz, thermal 25 ms later": record(free[0], replace(free[1], phase_ms=25)),
        "30/30 Hz, half a period apart": record(free[0], replace(free[1], phase_ms=16.7)),
        "30/9 Hz": slow,
        "60/25 Hz": record(replace(free[0], rate_hz=60), replace(free[1], rate_hz=25)),
        "30/30 Hz, 10 % lost": record(*(replace(camera, drop=0.1) for camera in free)),
        "30/30 Hz, 10 % in bursts": record(*(replace(camera, bursts=0.1) for camera in free)),
        "30/9 Hz, RGB 80 ms late": record(replace(free[0], latency_ms=80), replace(free[1], rate_hz=9)),
        "thermal silent for 3 s": gap,
        "30/9 Hz, bag of 30 s played twice": loop,
    }


def figures(frames: list[Frame], run: Callable[[list[Frame]], list[Release]]) -> dict[str, float]:
    """Return the statistics of one rule on one stream; times in milliseconds."""
    released = run(frames)
    pairs = [(time_ns, rgb, thermal) for time_ns, rgb, thermal in released if rgb and thermal]
    offsets = [abs(thermal.stamp_ns - rgb.stamp_ns) / MS for _, rgb, thermal in pairs]
    delays = [(time_ns - max(rgb.arrival_ns, thermal.arrival_ns)) / MS for time_ns, rgb, thermal in pairs]
    times = [frames[0].arrival_ns, *(time_ns for time_ns, _, _ in released), frames[-1].arrival_ns]
    return {
        "pairs": len(pairs),
        "alone": len(released) - len(pairs),
        "offset_mean_ms": float(np.mean(offsets)),
        "offset_p95_ms": float(np.quantile(offsets, 0.95)),
        "delay_mean_ms": float(np.mean(delays)),
        "delay_p95_ms": float(np.quantile(delays, 0.95)),
        "longest_silence_ms": float(np.diff(times).max() / MS),
    }


def time_per_frame_us(frames: list[Frame], run: Callable[[list[Frame]], list[Release]]) -> float:
    """Return the computing time per frame in microseconds, the median of five runs."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        run(frames)
        times.append((time.perf_counter() - start) / len(frames) * 1e6)
    return float(np.median(times))


def main() -> None:
    """Print the table and write the JSON document."""
    parser = argparse.ArgumentParser(description="Compare Pairing with ApproximateTimeSynchronizer on equal streams.")
    parser.add_argument("--out", type=Path, help="write the results as JSON")
    arguments = parser.parse_args()
    rules = {"ApproximateTime": run_greedy, "Pairing": run_pairing}
    columns = ("stream", "rule", "pairs", "alone", "offset", "p95", "delay", "p95", "silence", "us/frame")
    table = Table(*columns, title=f"{SECONDS} s each, max offset 50 ms, times in ms")
    results: dict[str, dict[str, Any]] = {}
    checked = "message_filters is not installed: ApproximateTime is only the rule of this file"
    for name, frames in streams().items():
        results[name] = {}
        for rule, run in rules.items():
            row = figures(frames, run) | {"us_per_frame": time_per_frame_us(frames, run)}
            results[name][rule] = row
            numbers = [f"{value:.0f}" if isinstance(value, int) else f"{value:.1f}" for value in row.values()]
            table.add_row(name if rule == "ApproximateTime" else "", rule, *numbers)
        try:
            peer = run_message_filters(frames)
        except ImportError:
            continue
        checked = "message_filters.ApproximateTimeSynchronizer gives the same pairs as the rule of this file"
        if peer != run_greedy(frames):
            raise SystemExit(f"the rule of this file gives other pairs than message_filters on stream '{name}'")
    console = Console(width=120)
    console.print(table)
    console.print(checked)
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
