# SPDX-License-Identifier: Apache-2.0
"""Measure two camera pairs in one process: what one pair feels of the other, memory and throughput, over real DDS.

    python benchmarks/pairs.py latency [--seconds 20] [--rate 5] [--inference-ms 50] [--json FILE]
    python benchmarks/pairs.py capacity [--seconds 20] [--engine onnxruntime]

`latency` is the time from publishing the images of the pair `front` to receiving its array, while the pair `rear` is
not configured (alone), sends as fast (both), sends nothing (dead) or floods the node (flooding).

`capacity` lets all cameras send faster than the node infers, and counts the arrays per second and the memory of the
node: one node with one pair, one node with two pairs, and two nodes with one pair and one CPU thread each. Memory is
the proportional set size (PSS), in which memory that two processes share counts once.

Without --inference-ms the node runs the weights of the package. With it, the inference sleeps that long instead; then
--turns lets both pairs share one inference thread, as on CUDA.
"""

from __future__ import annotations

import argparse
import array
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sleeping_predictor import SleepingPredictor

ROOT = Path(__file__).parents[1]
RGB_SHAPE, THERMAL_SHAPE = (480, 640, 3), (512, 640)
WARM_UP_SEC = 3.0
START_SEC = 120.0
LATENCY_CASES = ("alone", "both", "dead", "flooding")


def run_node(options: argparse.Namespace) -> None:
    """Run the detector node, with the stand-in for the network if --inference-ms is given."""
    from fusion_mamba_ros.ros.detector.detector_node import DetectorNode
    from fusion_mamba_ros.ros.process import run_node

    if not options.inference_ms:
        run_node(lambda _: DetectorNode(autostart=True), argparse.ArgumentParser())

    def load(*_: object) -> Any:
        return SleepingPredictor(options.inference_ms, is_reentrant=not options.turns)

    run_node(lambda _: DetectorNode(load=load, share=load, autostart=True), argparse.ArgumentParser())


def run_cameras(options: argparse.Namespace) -> None:
    """Publish the images of one pair until the process is ended."""
    import rclpy
    from rclpy.executors import ExternalShutdownException
    from sensor_msgs.msg import Image

    rclpy.init()
    node = rclpy.create_node(f"cameras_{options.prefix.strip('/')}")
    rgb = node.create_publisher(Image, f"{options.prefix}rgb/image_raw", 5)
    thermal = node.create_publisher(Image, f"{options.prefix}thermal/image_raw", 5)
    samples = sample_images()
    due, number = time.monotonic(), 0
    try:
        while rclpy.ok():
            stamp = node.get_clock().now().to_msg()
            for publisher, image in zip((rgb, thermal), samples[number % len(samples)], strict=True):
                image.header.stamp = stamp
                publisher.publish(image)
            number += 1
            due = max(due + 1 / options.rate, time.monotonic() - 0.1)
            time.sleep(max(0.0, due - time.monotonic()))
    except (ExternalShutdownException, KeyboardInterrupt):
        return


def sample_images() -> list[tuple[Any, Any]]:
    """Return a few pairs of image messages with noise."""
    from sensor_msgs.msg import Image

    def message(pixels: np.ndarray, encoding: str) -> Any:
        image = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding, step=pixels.strides[0])
        image.data = array.array("B", pixels.tobytes())
        return image

    generator = np.random.default_rng(0)
    return [
        (
            message(generator.integers(0, 255, RGB_SHAPE, np.uint8), "rgb8"),
            message(generator.integers(0, 65535, THERMAL_SHAPE, np.uint16), "mono16"),
        )
        for _ in range(4)
    ]


class Listener:
    """The arrays of some topics: their ages by the clock of this machine, which stamped the images."""

    def __init__(self, topics: list[str]) -> None:
        import rclpy
        from rclpy.context import Context
        from rclpy.executors import SingleThreadedExecutor
        from vision_msgs.msg import Detection2DArray

        self.context = Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("listener", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.ages_ms: dict[str, list[float]] = {topic: [] for topic in topics}
        for topic in topics:
            self.node.create_subscription(Detection2DArray, topic, partial(self._note, topic), 100)

    def _note(self, topic: str, message: Any) -> None:
        stamp = message.header.stamp
        self.ages_ms[topic].append((time.time_ns() - stamp.sec * 10**9 - stamp.nanosec) * 1e-6)

    def spin(self, seconds: float) -> None:
        """Receive for a while."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.executor.spin_once(timeout_sec=left)

    def wait_for_arrays(self, children: list[subprocess.Popen[bytes]]) -> None:
        """Wait until each topic has an array."""
        end = time.monotonic() + START_SEC
        while not all(self.ages_ms.values()):
            self.spin(0.2)
            if time.monotonic() > end or any(child.poll() is not None for child in children):
                raise TimeoutError(f"no array on {[topic for topic, ages in self.ages_ms.items() if not ages]}")

    def close(self) -> None:
        """Leave the graph."""
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()


@contextmanager
def process(options: argparse.Namespace, role: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run this script in another role, and end it."""
    own = ["--inference-ms", str(options.inference_ms), *(["--turns"] if options.turns else [])]
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(
            [sys.executable, __file__, options.measure, "--role", role, *own, *arguments], stdout=log, stderr=log
        )
        try:
            yield child
            if child.poll() is not None:
                log.seek(0)
                raise RuntimeError(f"the {role} ended: {log.read()[-1500:].decode(errors='replace')}")
        finally:
            child.terminate()
            child.wait()


def pss_mb(process_id: int) -> float:
    """Return the proportional set size of a process in MiB."""
    text = Path(f"/proc/{process_id}/smaps_rollup").read_text()
    match = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(match[1]) / 1024 if match else float("nan")


def ros(*parameters: str, remappings: tuple[str, ...] = ()) -> list[str]:
    """Return arguments for ROS."""
    arguments = [part for parameter in parameters for part in ("-p", parameter)]
    return ["--ros-args", *arguments, *(part for rule in remappings for part in ("-r", rule))]


def latency(options: argparse.Namespace, case: str) -> dict[str, Any]:
    """Return the latency of the pair `front` in one case, in milliseconds."""
    pairs = "pairs:=[front]" if case == "alone" else "pairs:=[front, rear]"
    rates = {"both": options.rate, "flooding": options.flood_rate}
    from contextlib import ExitStack

    with ExitStack() as stack:
        node = stack.enter_context(
            process(options, "node", *ros(pairs, f"engine:={options.engine}", *checkpoint(options)))
        )
        cameras = [("front/", options.rate)] + ([("rear/", rates[case])] if case in rates else [])
        children = [
            stack.enter_context(process(options, "cameras", "--prefix", prefix, "--rate", str(rate)))
            for prefix, rate in cameras
        ]
        listener = Listener(["front/detections"])
        stack.callback(listener.close)
        listener.wait_for_arrays([node, *children])
        listener.spin(WARM_UP_SEC)
        listener.ages_ms["front/detections"].clear()
        listener.spin(options.seconds)
        ages = listener.ages_ms["front/detections"]
        p50, p99 = np.percentile(ages, (50, 99))
        return {"arrays": len(ages), "p50_ms": float(p50), "p99_ms": float(p99), "pss_mb": pss_mb(node.pid)}


def capacity(options: argparse.Namespace, case: str) -> dict[str, Any]:
    """Return the arrays per second of all cameras together, and the memory of all nodes."""
    from contextlib import ExitStack

    common = (f"engine:={options.engine}", *checkpoint(options))
    nodes = {
        "one node, one pair": [ros("pairs:=[front]", *common)],
        "one node, two pairs": [ros("pairs:=[front, rear]", *common)],
        "two nodes, one thread each": [
            ros(f"pairs:=[{name}]", "threads:=1", *common, remappings=(f"__node:=detector_{name}",))
            for name in ("front", "rear")
        ],
    }[case]
    names = ["front"] if case == "one node, one pair" else ["front", "rear"]
    with ExitStack() as stack:
        children = [stack.enter_context(process(options, "node", *arguments)) for arguments in nodes]
        for name in names:
            stack.enter_context(process(options, "cameras", "--prefix", f"{name}/", "--rate", str(options.rate)))
        listener = Listener([f"{name}/detections" for name in names])
        stack.callback(listener.close)
        listener.wait_for_arrays(children)
        listener.spin(WARM_UP_SEC)
        for ages in listener.ages_ms.values():
            ages.clear()
        listener.spin(options.seconds)
        counts = {topic: len(ages) for topic, ages in listener.ages_ms.items()}
        return {
            "arrays_hz": sum(counts.values()) / options.seconds,
            "arrays": counts,
            "pss_mb": sum(pss_mb(child.pid) for child in children),
        }


def checkpoint(options: argparse.Namespace) -> list[str]:
    """Return the parameter of the checkpoint that fits the engine."""
    if options.engine != "onnxruntime":
        return []
    return [f"checkpoint:={ROOT / 'weights' / 'fusion_mamba_nano.onnx'}"]


def main() -> None:
    """Run all cases of one measure, print a table and write the JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measure", choices=("latency", "capacity"))
    parser.add_argument("--seconds", type=float, default=20.0, help="of each case")
    parser.add_argument("--rate", type=float, default=5.0, help="pairs of images per second")
    parser.add_argument("--flood-rate", type=float, default=100.0, help="the same of the pair that floods")
    parser.add_argument("--inference-ms", type=float, default=0.0, help="time that a stand-in sleeps; 0: the network")
    parser.add_argument("--turns", action="store_true", help="one inference thread for both pairs (stand-in only)")
    parser.add_argument("--engine", default="auto", help="engine of the network")
    parser.add_argument("--cases", nargs="+", help="only these cases")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--role", choices=("main", "node", "cameras"), default="main", help=argparse.SUPPRESS)
    parser.add_argument("--prefix", default="", help=argparse.SUPPRESS)
    options, _ = parser.parse_known_args()
    if options.role != "main":
        # The rest of the command line is for ROS.
        sys.argv = [sys.argv[0], *_]
        {"node": run_node, "cameras": run_cameras}[options.role](options)
        return
    from fusion_mamba_ros.ros.large_image_transport import profile_environment

    os.environ.update(
        ROS_DOMAIN_ID=str(random.SystemRandom().randrange(1, 100)),
        ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST",
        **profile_environment(ROOT / "config" / "fastdds_large_images.xml"),
    )
    figures: dict[str, Any] = {}
    if options.measure == "latency":
        print(f"{'rear is':10} {'arrays':>7} {'p50 ms':>8} {'p99 ms':>8} {'PSS MB':>8}")
        for case in options.cases or LATENCY_CASES:
            row = figures[case] = latency(options, case)
            print(
                f"{case:10} {row['arrays']:7d} {row['p50_ms']:8.1f} {row['p99_ms']:8.1f} {row['pss_mb']:8.0f}",
                flush=True,
            )
    else:
        for case in options.cases or ("one node, one pair", "one node, two pairs", "two nodes, one thread each"):
            row = figures[case] = capacity(options, case)
            print(f"{case:28} {row['arrays_hz']:6.2f} arrays/s {row['pss_mb']:8.0f} MB {row['arrays']}", flush=True)
    print(f"load {os.getloadavg()[0]:.1f}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
