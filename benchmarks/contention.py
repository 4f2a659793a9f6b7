# SPDX-License-Identifier: Apache-2.0
"""Time one prediction beside busy processes, for each way in which OpenMP threads wait for each other.

    python benchmarks/contention.py                   # under five minutes; a Markdown table on stdout
    python benchmarks/contention.py --seconds 20      # more predictions in each cell

Run it on a machine that is otherwise at rest. Each policy and number of threads has a process of its own, because the
OpenMP runtime reads the environment once. With few predictions in a cell, p99 is the slowest one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fusion_mamba_ros.openmp_policy import WAITING_VARIABLES

POLICIES: dict[str, dict[str, str]] = {
    "spinning": {},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "GOMP_SPINCOUNT=1000": {"GOMP_SPINCOUNT": "1000"},
    "GOMP_SPINCOUNT=10000": {"GOMP_SPINCOUNT": "10000"},
    "GOMP_SPINCOUNT=100000": {"GOMP_SPINCOUNT": "100000"},
}
# Ends by itself if this process is killed.
COMPETITOR = "import os; parent = os.getppid()\nwhile os.getppid() == parent: sum(range(10000))"


def predict_on_request(checkpoint: Path | None, threads: int) -> None:
    """Answer each line "SECONDS" of stdin with the times of predictions, milliseconds, as JSON. Ends with stdin."""
    from fusion_mamba_ros.perception.default_checkpoint import default_checkpoint
    from fusion_mamba_ros.perception.predictor import Predictor
    from fusion_mamba_ros.perception.threads import set_threads

    set_threads(threads)
    predictor = Predictor.from_checkpoint(checkpoint or default_checkpoint(), "cpu")
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (480, 640, 3), dtype=np.uint8)
    thermal = rng.integers(0, 256, (480, 640), dtype=np.uint8)
    images = {name: image for name, image in (("rgb", rgb), ("thermal", thermal)) if name in predictor.modalities}
    predictor.predict(images)
    print("ready", flush=True)
    for line in sys.stdin:
        times: list[float] = []
        deadline = time.monotonic() + float(line)
        while time.monotonic() < deadline or not times:
            start = time.perf_counter()
            predictor.predict(images)
            times.append((time.perf_counter() - start) * 1e3)
        print(json.dumps(times), flush=True)


@contextmanager
def competitors(count: int) -> Iterator[None]:
    """Keep ``count`` processes busy."""
    processes = [subprocess.Popen([sys.executable, "-c", COMPETITOR]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measure(policy: str, threads: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the figures of one policy and number of threads beside each number of competitors."""
    environment = {name: value for name, value in os.environ.items() if name not in WAITING_VARIABLES}
    environment |= POLICIES[policy]
    command = [sys.executable, __file__, "--predict", str(threads)]
    if options.checkpoint is not None:
        command += ["--checkpoint", str(options.checkpoint)]
    rows: list[dict[str, Any]] = []
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as predicting:
        assert predicting.stdin is not None and predicting.stdout is not None
        try:
            if predicting.stdout.readline() != "ready\n":
                raise SystemExit(f"the process that predicts with {policy}, {threads} threads did not start")
            for count in options.competitors:
                with competitors(count):
                    print(options.seconds, file=predicting.stdin, flush=True)
                    times = json.loads(predicting.stdout.readline())
                p50, p99 = np.percentile(times, [50, 99])
                row = {"policy": policy, "threads": threads, "competitors": count, "p50": p50, "p99": p99}
                rows.append(row | {"predictions": len(times)})
                print(f"{policy}, {threads} threads, {count} competitors: {p50:.0f} ms", file=sys.stderr)
        except BaseException:
            predicting.kill()
            raise
        predicting.stdin.close()
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return the figures as a Markdown table."""
    lines = [
        "| policy | threads | competitors | p50 (ms) | p99 (ms) | predictions |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['policy']} | {row['threads']} | {row['competitors']} | {row['p50']:.0f} | {row['p99']:.0f} "
        f"| {row['predictions']} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure all policies and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="time of each cell of the table (4)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--competitors", type=int, nargs="+", default=[0, 1, 2, 4])
    parser.add_argument("--policies", nargs="+", choices=list(POLICIES), default=list(POLICIES))
    parser.add_argument("--checkpoint", type=Path, help="default: that of the package")
    parser.add_argument("--predict", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.predict is not None:
        predict_on_request(options.checkpoint, options.predict)
        return
    rows = [
        row for policy in options.policies for threads in options.threads for row in measure(policy, threads, options)
    ]
    print(f"{os.cpu_count()} cores, {options.seconds:g} s for each row\n\n{table(rows)}")


if __name__ == "__main__":
    main()
