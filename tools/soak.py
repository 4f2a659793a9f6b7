# SPDX-License-Identifier: Apache-2.0
"""Run the node for a long time, inject one fault after another, and watch its memory, threads and recovery.

    python tools/soak.py                         # 30 minutes, with a checkpoint made for the purpose
    python tools/soak.py --seconds 50 --every 4  # as in the test suite
    python tools/soak.py --checkpoint FILE

Fails (exit code 1) if, after the first fifth of the time, memory grows by more than 1 % or the number of threads or
file handles grows, if the node ends, if its counters do not add up, if a fault has no effect, or if fused
output does not resume within 2 s after a fault. `test/soak_faults.py` defines the faults.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "test")]

from detector_graph import DetectorProcess, Graph, isolate, wait_until  # noqa: E402
from ros_cameras import Cameras  # noqa: E402
from soak_faults import FaultInjector  # noqa: E402

SAMPLE_SEC = 1.0
MOST_GROWTH = 0.01
# The real node and predictor. Inference fails if the first pixel of an image requests it.
PROGRAM = str(ROOT / "test" / "faulty_detector.py")


@dataclass(frozen=True)
class Sample:
    """Resources of the node at one moment: resident memory in MB, number of threads and of file handles."""

    memory_mb: float
    threads: int
    handles: int


def sample(pid: int) -> Sample:
    """Return the resources of process ``pid`` now."""
    process = Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    # Anonymous memory: shared segments of the middleware belong to all of its processes.
    memory_kb = int(status["RssAnon"].split()[0])
    return Sample(memory_kb / 1024, int(status["Threads"]), len(os.listdir(process / "fd")))


def make_checkpoint(path: Path) -> None:
    """Write a small untrained network: its detections do not matter here."""
    import torch

    from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
    from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata, save_checkpoint

    torch.manual_seed(0)
    model = FusionMambaDetector(ModelConfig(classes=1, fusion="add"))
    save_checkpoint(path, model, CheckpointMetadata(("person",), (96, 96)))


def soak(detector: DetectorProcess, graph: Graph, seconds: float, every_sec: float) -> tuple[list[Sample], list[str]]:
    """Drive the node for ``seconds`` with a fault every ``every_sec``; return its resources and the failures."""
    cameras = Cameras(graph)
    wait_until(lambda: graph.statuses and graph.statuses[-1].mode == "fused", "fused output")
    injector = FaultInjector(graph, cameras, every_sec=every_sec)
    samples: list[Sample] = []
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(detector, graph, cameras, seconds, samples, over), daemon=True)
    start = time.monotonic()
    watcher.start()
    while time.monotonic() - start < seconds and watcher.is_alive():
        injector.run_one()
        graph.counters_add_up()
    over.set()
    watcher.join()
    cameras.close()
    if detector.process.poll() is not None:
        raise SystemExit(f"the node ended with code {detector.process.returncode}:\n{detector.log}")
    print("\n" + injector.summary())
    return samples, injector.failures


def _watch(
    detector: DetectorProcess,
    graph: Graph,
    cameras: Cameras,
    seconds: float,
    samples: list[Sample],
    over: threading.Event,
) -> None:
    """Take a sample every second, until ``over`` is set or the node ends."""
    start = time.monotonic()
    while not over.wait(SAMPLE_SEC) and detector.process.poll() is None:
        samples.append(sample(detector.process.pid))
        # Drop received messages that are no longer needed, so that this process does not grow.
        del graph.arrays[:-10], graph.statuses[:-10]
        for sent in cameras.sent.values():
            del sent[:-10]
        _show(time.monotonic() - start, seconds, samples[-1], graph)


def _show(elapsed: float, seconds: float, now: Sample, graph: Graph) -> None:
    published = graph.statuses[-1].published if graph.statuses else 0
    line = f"{elapsed:6.0f} of {seconds:.0f} s  {published:7d} arrays  {now.memory_mb:8.1f} MB  {now.threads} threads"
    print(line, end="\r" if sys.stdout.isatty() else "\n", flush=True)


def judge(samples: list[Sample]) -> list[str]:
    """Return one sentence for each resource that grew; the first fifth of the samples is warm-up."""
    steady = samples[len(samples) // 5 :]
    third = max(1, len(steady) // 3)
    early, late = steady[:third], steady[-third:]
    before, after = (float(np.median([s.memory_mb for s in part])) for part in (early, late))
    growth = after / before - 1
    print(f"\nmemory {before:.1f} MB, at the end {after:.1f} MB: {growth:+.2%}")
    faults = [f"memory grew by {growth:.2%}"] if growth > MOST_GROWTH else []
    for name in ("threads", "handles"):
        first, last = (max(getattr(s, name) for s in part) for part in (early, late))
        print(f"{name} {first}, at the end {last}")
        if last > first:
            faults.append(f"{name} grew from {first} to {last}")
    return faults


def main() -> int:
    """Soak, print a verdict, return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1800.0)
    parser.add_argument("--every", type=float, default=10.0, help="seconds from one fault to the next (10)")
    parser.add_argument("--checkpoint", type=Path, help="default: a small untrained one")
    options = parser.parse_args()
    isolate()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = options.checkpoint or Path(folder) / "small.safetensors"
        if options.checkpoint is None:
            make_checkpoint(checkpoint)
        detector = DetectorProcess([PROGRAM], Path(folder) / "detector.log", f"checkpoint:={checkpoint}")
        graph = Graph()
        try:
            graph.activate()
            samples, faults = soak(detector, graph, options.seconds, options.every)
            faults += judge(samples)
            graph.counters_add_up()
            code = detector.stop()
        finally:
            graph.close()
            detector.kill()
    if code != 0:
        faults.append(f"the node ended with code {code}")
    print("; ".join(faults) or "nothing grew, and output came back after every fault")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
