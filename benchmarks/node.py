# SPDX-License-Identifier: Apache-2.0
"""Measure the time that the node adds to inference, from publishing the images to receiving the array, over real DDS.

    python benchmarks/node.py [--seconds 20] [--rate 30] [--json FILE]
    python benchmarks/node.py --rate 60 --inference-ms 200     # a node that cannot keep up with the cameras
    python benchmarks/node.py --inference-ms 100 --outages 10  # time until the node continues with one camera

The benchmark uses three processes:
- "cameras", this process, publishes 640x480 rgb8 and 640x512 mono16 images and receives the arrays.
- "node" runs the detector node with a predictor that returns immediately.
- "peer" receives both images and answers with their header as soon as the later image has arrived. Its time is the
  time of the transport in the same run under the same load.
The overhead is the difference between the percentiles of node and peer.

With --inference-ms the predictor sleeps that long. The benchmark then compares the age of the arrays (from the arrival
of the later image, as in ~/status) with the bound of the design: two inferences (measured p99), one period of the
faster camera and 20 ms. With --outages the thermal camera stops that many times for two seconds. The benchmark then
compares the time from the last thermal image to the first RGB-only array with `pairing.timeout_sec` plus two
inferences.
"""

from __future__ import annotations

import argparse
import array
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from sleeping_predictor import SleepingPredictor

ROOT = Path(__file__).parents[1]
RGB_SHAPE, THERMAL_SHAPE = (480, 640, 3), (512, 640)
WARM_UP_FRAMES = 60
OUTAGE_SEC = 2.0
LOG_END_BYTES = 2000
TIMEOUT_SEC = 0.5


def run_peer() -> None:
    """Publish the header of each pair as soon as both images of the same stamp have arrived."""
    import rclpy
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
    from sensor_msgs.msg import Image
    from std_msgs.msg import Header

    rclpy.init()
    node = rclpy.create_node("transport_peer")
    publisher = node.create_publisher(Header, "answer", 10)
    seen: dict[str, tuple[int, int]] = {}

    def on_image(message: Image, camera: str, other: str) -> None:
        stamp = (message.header.stamp.sec, message.header.stamp.nanosec)
        seen[camera] = stamp
        if seen.get(other) == stamp:
            publisher.publish(message.header)

    node.create_subscription(Image, "rgb/image_raw", lambda message: on_image(message, "rgb", "thermal"), 5)
    node.create_subscription(Image, "thermal/image_raw", lambda message: on_image(message, "thermal", "rgb"), 5)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        executor.spin()
    except (ExternalShutdownException, KeyboardInterrupt):
        return


def run_node_with(inference_ms: float) -> None:
    """Run the node with a predictor that takes ``inference_ms`` milliseconds."""
    from fusion_mamba_ros.ros.detector.detector_node import DetectorNode
    from fusion_mamba_ros.ros.process import run_node

    def load(*_: object) -> Any:
        return SleepingPredictor(inference_ms)

    run_node(lambda options: DetectorNode(load=load))


def require_running(children: Mapping[str, subprocess.Popen[bytes]], log: IO[bytes]) -> None:
    """Raise ``ChildProcessError`` with the end of ``log`` if one of the processes has ended."""
    for role, child in children.items():
        if child.poll() is not None:
            # pread instead of seek: a seek would move the write position of the other process.
            size = os.fstat(log.fileno()).st_size
            end = os.pread(log.fileno(), LOG_END_BYTES, max(0, size - LOG_END_BYTES)).decode(errors="replace")
            raise ChildProcessError(f"the {role} ended with code {child.returncode}; the end of its log:\n{end}")


def measure(seconds: float, rate_hz: float, outages: int, check: Callable[[], None]) -> dict[str, Any]:
    """Publish images for ``seconds`` and return the measured times in milliseconds.

    ``check`` is called while waiting; it raises if one of the other processes has ended.
    """
    import rclpy
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState
    from rclpy.executors import SingleThreadedExecutor
    from sensor_msgs.msg import Image
    from std_msgs.msg import Header
    from vision_msgs.msg import Detection2DArray

    from fusion_mamba_ros.msg import FusionStatus

    rclpy.init()
    node = rclpy.create_node("cameras")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    sent: dict[tuple[int, int], int] = {}
    took: dict[str, list[float]] = {"node": [], "peer": [], "inside": [], "inference": [], "switch": []}
    thermal_stopped_ns: int | None = None

    def note(name: str, header: Header) -> None:
        start_ns = sent.get((header.stamp.sec, header.stamp.nanosec))
        if start_ns is not None:
            took[name].append((time.monotonic_ns() - start_ns) * 1e-6)

    node.create_subscription(Detection2DArray, "detections", lambda message: note("node", message.header), 10)  # type: ignore[attr-defined]
    node.create_subscription(Header, "answer", lambda message: note("peer", message), 10)

    def note_status(status: FusionStatus) -> None:
        nonlocal thermal_stopped_ns
        if status.mode == FusionStatus.RGB_ONLY and thermal_stopped_ns is not None:
            took["switch"].append((time.monotonic_ns() - thermal_stopped_ns) * 1e-6)
            thermal_stopped_ns = None
        if status.mode == FusionStatus.FUSED:
            took["inside"].append(status.age_sec * 1e3)
            took["inference"].append(status.inference_ms)

    node.create_subscription(FusionStatus, "detector_node/status", note_status, 10)
    rgb = node.create_publisher(Image, "rgb/image_raw", 5)
    thermal = node.create_publisher(Image, "thermal/image_raw", 5)
    client = node.create_client(ChangeState, "detector_node/change_state")
    while not client.wait_for_service(timeout_sec=0.5):
        check()
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        future = client.call_async(ChangeState.Request(transition=Transition(id=transition)))
        while not future.done():
            check()
            executor.spin_until_future_complete(future, timeout_sec=0.5)
        if not future.result().success:
            raise RuntimeError("the node could not be configured and activated")
    while min(rgb.get_subscription_count(), thermal.get_subscription_count()) < 2:
        check()
        executor.spin_once(timeout_sec=0.1)

    generator = np.random.default_rng(0)
    samples = [
        (_message(generator.integers(0, 255, RGB_SHAPE, np.uint8), "rgb8"),
         _message(generator.integers(0, 65535, THERMAL_SHAPE, np.uint16), "mono16"))
        for _ in range(8)
    ]  # fmt: skip
    frames = WARM_UP_FRAMES + int(seconds * rate_hz)
    outage_frames = int(OUTAGE_SEC * rate_hz)
    due = time.monotonic()
    for number in range(frames + 2 * outage_frames * outages):
        check()
        images = samples[number % len(samples)]
        stamp = node.get_clock().now().to_msg()
        for image in images:
            image.header.stamp = stamp
        if WARM_UP_FRAMES <= number < frames:
            sent[(stamp.sec, stamp.nanosec)] = time.monotonic_ns()
        outage_frame = (number - frames) % (2 * outage_frames) if number >= frames else outage_frames
        if outage_frame == 0:
            thermal_stopped_ns = time.monotonic_ns() - int(1e9 / rate_hz)
        if outage_frame >= outage_frames:
            thermal.publish(images[1])
        rgb.publish(images[0])
        due += 1 / rate_hz
        while (left := due - time.monotonic()) > 0:
            executor.spin_once(timeout_sec=left)
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        executor.spin_once(timeout_sec=0.05)
    del took["inside"][: len(took["inside"]) // 10]
    return {"frames": frames - WARM_UP_FRAMES, "rate_hz": rate_hz, "took_ms": took}


def _message(pixels: np.ndarray, encoding: str) -> Any:
    from sensor_msgs.msg import Image

    message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding, step=pixels.strides[0])
    message.data = array.array("B", pixels.tobytes())
    return message


def summarise(measured: dict[str, Any]) -> dict[str, Any]:
    """Return the percentiles of all times, and the difference between node and peer."""
    figures: dict[str, Any] = {"frames": measured["frames"], "rate_hz": measured["rate_hz"], "load": os.getloadavg()[0]}
    for name, values in measured["took_ms"].items():
        p50, p95, p99 = np.percentile(values, (50, 95, 99)) if values else (float("nan"),) * 3
        figures[name] = {"count": len(values), "p50_ms": float(p50), "p95_ms": float(p95), "p99_ms": float(p99)}
    figures["overhead"] = {
        percentile: figures["node"][percentile] - figures["peer"][percentile] for percentile in ("p50_ms", "p95_ms")
    }
    return figures


def main() -> None:
    """Start the three processes, print a table and write the JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=30.0, help="pairs per second")
    parser.add_argument("--inference-ms", type=float, default=0.0, help="time that the predictor takes")
    parser.add_argument("--outages", type=int, default=0, help="number of two-second stops of the thermal camera")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--role", choices=("cameras", "node", "peer"), default="cameras", help=argparse.SUPPRESS)
    options, _ = parser.parse_known_args()
    if options.role == "peer":
        run_peer()
        return
    if options.role == "node":
        run_node_with(options.inference_ms)
        return
    from fusion_mamba_ros.ros.large_image_transport import profile_environment

    os.environ.update(
        ROS_DOMAIN_ID=str(random.SystemRandom().randrange(1, 100)),
        ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST",
        **profile_environment(ROOT / "config" / "fastdds_large_images.xml"),
    )
    with tempfile.TemporaryFile() as log:
        children = {
            role: subprocess.Popen(
                [sys.executable, __file__, "--role", role, "--inference-ms", str(options.inference_ms)],
                stdout=log,
                stderr=log,
            )
            for role in ("node", "peer")
        }
        try:
            measured = measure(options.seconds, options.rate, options.outages, lambda: require_running(children, log))
        except ChildProcessError as error:
            sys.exit(str(error))
        finally:
            for child in children.values():
                child.terminate()
            for child in children.values():
                child.wait()
    figures = summarise(measured)
    print(f"{'':10} {'answers':>8} {'p50 ms':>8} {'p95 ms':>8}")
    for name, meaning in (("node", "images to array"), ("peer", "transport only"), ("inside", "age in ~/status")):
        row = figures[name]
        print(f"{name:10} {row['count']:8d} {row['p50_ms']:8.2f} {row['p95_ms']:8.2f}  {meaning}")
    overhead = figures["overhead"]
    print(f"{'overhead':10} {'':8} {overhead['p50_ms']:8.2f} {overhead['p95_ms']:8.2f}  load {figures['load']:.1f}")
    if options.inference_ms:
        bound_ms = 2 * figures["inference"]["p99_ms"] + 1e3 / options.rate + 20
        figures["age_bound_ms"] = bound_ms
        print(f"age p99 {figures['inside']['p99_ms']:.1f} ms, bound {bound_ms:.1f} ms")
    if options.outages:
        switch = figures["switch"]
        bound_ms = TIMEOUT_SEC * 1e3 + 2 * figures["inference"]["p99_ms"]
        figures["switch_bound_ms"] = bound_ms
        print(f"RGB only after p50 {switch['p50_ms']:.1f} ms, p99 {switch['p99_ms']:.1f} ms, bound {bound_ms:.1f} ms "
              f"({switch['count']} of {options.outages} outages)")  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
