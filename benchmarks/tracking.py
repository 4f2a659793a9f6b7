# SPDX-License-Identifier: Apache-2.0
"""Compare the tracker with a plain ByteTrack on synthetic streets, and time both.

    python benchmarks/tracking.py                       # simulated detections
    python benchmarks/tracking.py --detector package    # the package's checkpoint; some minutes
    python benchmarks/tracking.py --detector none       # the times only

Thermal freezes 20 times for one second in each street. The plain ByteTrack is `test/plain_bytetrack.py`: it counts
frames and loops over its tracks in Python. `motmetrics` judges; both trackers get the same detections.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent.parent / "test"))
from plain_bytetrack import PlainByteTrack
from street_tracks import Freezes, TrackedFrame, record, render, simulate
from track_scores import ids_lost_to_freezes, judge

from fusion_mamba_ros.tracking.tracker import Tracker

RATE_HZ = 10.0
BOXES, UPDATES = 30, 300


def detected(seed: int, freezes: Freezes) -> tuple[list[TrackedFrame], list[TrackedFrame]]:
    """Return a street with the detections of the package's checkpoint, with and without freezes."""
    from fusion_mamba_ros.perception.default_checkpoint import default_checkpoint
    from fusion_mamba_ros.perception.detections import Detections, Mode
    from fusion_mamba_ros.perception.mode import modalities_of
    from fusion_mamba_ros.perception.predictor import Predictor

    predictor = Predictor.from_checkpoint(default_checkpoint(), device="cpu")
    predictor.change(score_threshold=0.1)
    cache: dict[tuple[int, Mode], Detections] = {}

    def detect(number: int, frame: Any, mode: Mode) -> Detections:
        if (number, mode) not in cache:
            names = modalities_of(mode, predictor.modalities)
            cache[number, mode] = predictor.predict({name: frame.images[name] for name in names})
        return cache[number, mode]

    frames = render(seed, freezes.seconds, RATE_HZ, night=seed % 2 == 0)
    return record(frames, RATE_HZ, freezes, detect), record(frames, RATE_HZ, None, detect)


def simulated(seed: int, freezes: Freezes) -> tuple[list[TrackedFrame], list[TrackedFrame]]:
    """Return a street with simulated detections, with and without freezes."""
    frames = render(seed, freezes.seconds, RATE_HZ, night=seed % 2 == 0)
    frames = [replace(frame, images={}) for frame in frames]
    return simulate(frames, RATE_HZ, freezes, seed), simulate(frames, RATE_HZ, None, seed)


def time_ms(make: Any) -> tuple[float, float]:
    """Return median and p95 of one update with 30 jittering boxes that move, in milliseconds."""
    rng = np.random.default_rng(0)
    corner, velocity = rng.uniform(0, 600, (BOXES, 2)), rng.normal(0, 2, (BOXES, 2))
    size = rng.uniform((20, 40), (60, 120), (BOXES, 2))
    tracker, times = make(), []
    for number in range(UPDATES):
        place = corner + number * velocity
        boxes = np.hstack([place, place + size]) + rng.normal(0, 1, (BOXES, 4))
        scores = rng.uniform(0.15, 0.9, BOXES)
        started = time.perf_counter()
        tracker.update(
            boxes, scores, np.zeros(BOXES, np.int64), stamp_ns=round(number * 1e9 / RATE_HZ), score_threshold=0.25
        )
        times.append(1e3 * (time.perf_counter() - started))
    return float(np.median(times)), float(np.quantile(times, 0.95))


def main() -> None:
    """Print the tables and write the JSON document."""
    parser = argparse.ArgumentParser(description="Compare the tracker with a plain ByteTrack.")
    parser.add_argument("--detector", choices=("simulated", "package", "none"), default="simulated")
    parser.add_argument("--seeds", type=int, default=4, help="number of streets; even ones are at night")
    parser.add_argument("--freezes", type=int, default=20)
    parser.add_argument("--out", type=Path, help="write the results as JSON")
    arguments = parser.parse_args()
    console, freezes = Console(width=120), Freezes(arguments.freezes)
    rules: dict[str, tuple[Any, dict[str, bool]]] = {
        "Tracker": (Tracker, {}),
        "plain ByteTrack": (PlainByteTrack, {}),
        "plain, reset at mode change": (PlainByteTrack, {"reset_at_mode_change": True}),
    }
    results: dict[str, Any] = {"quality": {}, "time_ms": {}}
    table = Table(
        "tracker", "IDF1", "switches", "ids changed by freezes", "of", title=f"{arguments.freezes} freezes each"
    )
    recordings = []
    if arguments.detector != "none":
        make = detected if arguments.detector == "package" else simulated
        recordings = [make(seed, freezes) for seed in range(arguments.seeds)]
    for name, (tracker, options) in rules.items() if recordings else ():
        rows = []
        for frozen, whole in recordings:
            judged, calm = judge(frozen, tracker(), **options), judge(whole, tracker(), **options)
            rows.append((judged.idf1, judged.switches, *ids_lost_to_freezes(judged, calm, freezes, RATE_HZ)))
        columns = list(zip(*rows, strict=True))
        row = {"idf1": float(np.mean(columns[0])), "switches": sum(columns[1]), "changed": sum(columns[2])}
        results["quality"][name] = row | {"seen": sum(columns[3])}
        table.add_row(name, f"{row['idf1']:.3f}", str(row["switches"]), str(row["changed"]), str(sum(columns[3])))
    if recordings:
        console.print(table)
    for name, (tracker, _) in list(rules.items())[:2]:
        median, p95 = results["time_ms"][name] = time_ms(tracker)
        console.print(f"{name}: {median:.2f} ms median, {p95:.2f} ms p95 per update with {BOXES} boxes")
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
