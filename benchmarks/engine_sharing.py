# SPDX-License-Identifier: Apache-2.0
"""Measure how two camera pairs share one engine: in turn, as one batch, or at the same time on half of the cores each.

python benchmarks/engine_sharing.py [--seconds 20] [--engine onnxruntime]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from fusion_mamba_ros.perception.default_checkpoint import default_checkpoint
from fusion_mamba_ros.perception.engine import EngineOptions
from fusion_mamba_ros.perception.engine_loading import load_engine

ROOT = Path(__file__).parents[1]
WAYS = ("turns", "batch", "concurrent")


def engine_rates(name: str, case: str, seconds: float) -> tuple[float, float]:
    """Return the pairs per second of one way to run two pairs, and the median time until both have a result, in ms."""
    cores = len(os.sched_getaffinity(0))
    path = ROOT / "weights" / "fusion_mamba_nano.onnx" if name == "onnxruntime" else default_checkpoint()
    threads = max(1, cores // 2) if case == "concurrent" else cores
    engine, metadata = load_engine(path, name, EngineOptions(threads=threads))
    width, height = metadata.input_size
    generator = np.random.default_rng(0)
    pairs = {
        modality: generator.integers(0, 255, (2, height, width, channels), np.uint8).transpose(0, 3, 1, 2)
        for modality, channels in engine.modalities.items()
    }
    one, other = ({modality: image[i : i + 1] for modality, image in pairs.items()} for i in range(2))
    with ThreadPoolExecutor(2) as pool:
        ways: dict[str, Callable[[], Any]] = {
            "turns": lambda: [engine.run(one), engine.run(other)],
            "batch": lambda: engine.run(pairs),
            "concurrent": lambda: list(pool.map(engine.run, (one, other))),
        }
        ways[case]()
        took_ms: list[float] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            started = time.perf_counter()
            ways[case]()
            took_ms.append(1e3 * (time.perf_counter() - started))
    return 2e3 / float(np.mean(took_ms)), float(np.median(took_ms))


def main() -> None:
    """Run all ways and print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each way")
    parser.add_argument("--engine", default="auto", help="engine of the network")
    options = parser.parse_args()
    for case in WAYS:
        pairs_hz, both_ms = engine_rates(options.engine, case, options.seconds)
        print(f"{case:10} {pairs_hz:6.2f} pairs/s, both after {both_ms:7.1f} ms", flush=True)
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
