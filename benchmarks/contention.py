# SPDX-License-Identifier: Apache-2.0
"""Time one prediction beside busy processes, for each way in which OpenMP threads wait for each other.

    python benchmarks/contention.py                   # under five minutes; a Markdown table on stdout
    python benchmarks/contention.py --seconds 20      # more predictions in each cell

Run it on a machine that is otherwise at rest. Each policy and number of threads has a process of its own, because the
OpenMP runtime reads the environment once. With few predictions in a cell, p99 is the slowest one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fusion_mamba_ros.deployment.bench_process import BenchProcess, BenchRequest
from fusion_mamba_ros.openmp_policy import WAITING_VARIABLES
from fusion_mamba_ros.perception.default_checkpoint import default_checkpoint

POLICIES: dict[str, dict[str, str]] = {
    "spinning": {},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "GOMP_SPINCOUNT=1000": {"GOMP_SPINCOUNT": "1000"},
    "GOMP_SPINCOUNT=10000": {"GOMP_SPINCOUNT": "10000"},
    "GOMP_SPINCOUNT=100000": {"GOMP_SPINCOUNT": "100000"},
}
# Ends by itself if this process is killed.
COMPETITOR = "import os; parent = os.getppid()\nwhile os.getppid() == parent: sum(range(10000))"


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


def measure(policy: str, threads: int, images: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the figures of one policy and number of threads beside each number of competitors."""
    environment = {name: value for name, value in os.environ.items() if name not in WAITING_VARIABLES}
    request = BenchRequest(options.checkpoint.absolute(), images, device="cpu", threads=threads)
    rows: list[dict[str, Any]] = []
    with BenchProcess(request, environment | POLICIES[policy]) as predicting:
        for count in options.competitors:
            with competitors(count):
                times = predicting.run(seconds=options.seconds).total
            p50, p99 = np.percentile(times, [50, 99])
            row = {"policy": policy, "threads": threads, "competitors": count, "p50": p50, "p99": p99}
            rows.append(row | {"predictions": len(times)})
            print(f"{policy}, {threads} threads, {count} competitors: {p50:.0f} ms", file=sys.stderr)
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
    parser.add_argument("--checkpoint", type=Path, default=default_checkpoint(), help="default: that of the package")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images.npz"
        random = np.random.default_rng(0)
        rgb, thermal = (random.integers(0, 256, shape, np.uint8) for shape in ((480, 640, 3), (480, 640)))
        np.savez(images, rgb=rgb, thermal=thermal)
        rows = [
            row
            for policy in options.policies
            for threads in options.threads
            for row in measure(policy, threads, images, options)
        ]
    print(f"{os.cpu_count()} cores, {options.seconds:g} s for each row\n\n{table(rows)}")


if __name__ == "__main__":
    main()
