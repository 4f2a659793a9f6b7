# SPDX-License-Identifier: Apache-2.0
"""Time the engines on the same network: PyTorch against exported models, in one run.

    python benchmarks/engines.py weights/fusion_mamba_nano.safetensors weights/fusion_mamba_nano.onnx
    python benchmarks/engines.py best.safetensors best_480x384.onnx best_640x512.onnx --threads 1 2 --json engines.json

Each exported model is compared with the checkpoint in PyTorch on a canvas of its size. Every engine and number of
threads has a process of its own, with the waiting policy of the node. The processes take turns, so that a change of the
machine's speed affects all of them. While one works, the others sleep. Run it on a machine that is otherwise idle. The
table has the median time of one image, from bytes to decoded boxes, in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def run_on_request(model: Path, threads: int, size: tuple[int, int]) -> None:
    """Read a number from each line of stdin and print the times of as many runs, in milliseconds, as JSON."""
    from fusion_mamba_ros.openmp_policy import set_waiting_policy

    set_waiting_policy()
    from fusion_mamba_ros.perception.engine import EngineOptions
    from fusion_mamba_ros.perception.engine_loading import load_engine

    started = time.perf_counter()
    engine, _ = load_engine(model, options=EngineOptions(device="cpu", threads=threads))
    random = np.random.default_rng(0)
    images = {
        name: random.integers(0, 256, (1, size[1], size[0], channels), np.uint8).transpose(0, 3, 1, 2)
        for name, channels in engine.modalities.items()
    }
    engine.run(images)
    print(json.dumps({"engine": engine.name, "precision": engine.precision, "start_s": time.perf_counter() - started}))
    sys.stdout.flush()
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            engine.run(images)
            times.append((time.perf_counter() - start) * 1e3)
        print(json.dumps(times), flush=True)


class Worker:
    """A process that runs one engine."""

    def __init__(self, model: Path, threads: int, size: tuple[int, int]) -> None:
        command = [sys.executable, __file__, "--worker", str(model), str(threads), f"{size[0]}x{size[1]}"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.model, self.threads, self.size = model, threads, size
        self.about = self._answer()
        self.times: list[float] = []

    def run(self, count: int) -> None:
        """Time ``count`` runs."""
        assert self._process.stdin is not None
        print(count, file=self._process.stdin, flush=True)
        self.times += self._answer()

    def end(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


def canvas_of(model: Path) -> tuple[int, int]:
    """Return (width, height) of an exported model."""
    from fusion_mamba_ros.deployment.onnx_metadata import read_properties
    from fusion_mamba_ros.perception.checkpoint_metadata import METADATA_KEY, parse_metadata_text

    return parse_metadata_text(read_properties(model).get(METADATA_KEY), str(model)).metadata.input_size


def measure(checkpoint: Path, exported: Path, threads: int, options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one exported model and of the checkpoint, on the same canvas and number of threads."""
    size = canvas_of(exported)
    workers = [Worker(model, threads, size) for model in (checkpoint, exported)]
    try:
        for _ in range(options.rounds):
            for worker in workers:
                worker.run(options.repeats)
    finally:
        for worker in workers:
            worker.end()
    eager, other = (statistics.median(worker.times) for worker in workers)
    return {
        "model": exported.name,
        "precision": workers[1].about["precision"],
        "canvas": f"{size[0]}x{size[1]}",
        "threads": threads,
        "torch_ms": eager,
        "engine_ms": other,
        "ratio": other / eager,
        "torch_p95_ms": float(np.percentile(workers[0].times, 95)),
        "engine_p95_ms": float(np.percentile(workers[1].times, 95)),
        "torch_start_s": workers[0].about["start_s"],
        "engine_start_s": workers[1].about["start_s"],
    }


def main() -> None:
    """Run the benchmark."""
    if sys.argv[1:2] == ["--worker"]:
        width, height = sys.argv[4].split("x")
        run_on_request(Path(sys.argv[2]), int(sys.argv[3]), (int(width), int(height)))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("exported", type=Path, nargs="+")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=10, help="times that each engine gets its turn")
    parser.add_argument("--repeats", type=int, default=3, help="runs in each turn")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    rows = []
    print(
        "| model | canvas | threads | PyTorch | engine | ratio | p95 | start |\n|---|---|---:|---:|---:|---:|---:|---:|"
    )
    for exported in options.exported:
        for threads in options.threads:
            row = measure(options.checkpoint, exported, threads, options)
            rows.append(row)
            print(
                f"| {row['model']} {row['precision']} | {row['canvas']} | {threads} | {row['torch_ms']:.1f} ms "
                f"| {row['engine_ms']:.1f} ms | {row['ratio']:.2f} "
                f"| {row['torch_p95_ms']:.1f}, {row['engine_p95_ms']:.1f} ms "
                f"| {row['torch_start_s']:.1f}, {row['engine_start_s']:.1f} s |",
                flush=True,
            )
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
