# SPDX-License-Identifier: Apache-2.0
"""Demonstration: replay two cameras from a bag through the detector node over ROS 2 and draw the detections."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

RGB_TOPIC, THERMAL_TOPIC = "/rgb/image_raw", "/thermal/image_raw"
# The node keeps up if the period of the pairs is at least _HEADROOM inferences plus _OVERHEAD_SEC: the player and the
# recorder also need a core.
_HEADROOM, _OVERHEAD_SEC = 2.0, 0.02
_WARM_UP_PAIRS, _TIMED_PAIRS = 3, 7
_LONGEST_TIMING_SEC = 15.0
# The replay never takes longer than this. If the node is too slow for that rate, it drops pairs and counts them.
_LONGEST_PLAY_SEC = 150.0

console = Console(stderr=True, highlight=False)


def main() -> int:
    """Run the demonstration.

    Returns 0 on success, 1 if a part failed, 2 if the input cannot be used, 130 if it was interrupted.
    """
    arguments = parse_arguments()
    # Use a separate ROS graph, so that other nodes on this machine or network do not interfere.
    os.environ["ROS_DOMAIN_ID"] = str(arguments.domain_id)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    from fusion_mamba_ros.bags.bag_reading import BagError
    from fusion_mamba_ros.ros.bag_tools.replay import ReplayError
    from fusion_mamba_ros.ros.large_image_transport import use_large_image_transport

    use_large_image_transport()
    try:
        return run(arguments)
    except ReplayError as error:
        console.print(f"demo: {error}", markup=False, soft_wrap=True)
        return 1
    except (BagError, OSError, ValueError) as error:
        console.print(f"demo: {error}", markup=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        console.print("demo: interrupted")
        return 130


def run(arguments: argparse.Namespace) -> int:
    """Make the bag, replay it, and write the results."""
    from fusion_mamba_ros.evaluation.replay_report import draw_replay, read_recording, summarise
    from fusion_mamba_ros.perception.default_checkpoint import default_checkpoint
    from fusion_mamba_ros.ros.bag_tools.replay import ReplayOptions, replay, thermal_view_of

    checkpoint = arguments.checkpoint or default_checkpoint()
    if not checkpoint.is_file():
        raise ValueError(f"checkpoint '{checkpoint}' does not exist: name one with --checkpoint")
    parameters = node_parameters(arguments)
    out = prepare_folder(arguments.out)
    started = time.monotonic()

    source = out / "cameras"
    make_bag(arguments, source)
    period_sec, duration_sec = bag_timing(source)
    inference_sec = measure_inference(checkpoint, source)
    rate = arguments.rate or play_rate(period_sec, duration_sec, inference_sec)
    console.print(
        f"one pair takes about {1e3 * inference_sec:.0f} ms here: playing at {rate:.2f} of the recorded speed"
    )

    options = ReplayOptions(
        checkpoint,
        logs=out,
        rate=rate,
        rgb_topic=RGB_TOPIC,
        thermal_topic=THERMAL_TOPIC,
        parameters=parameters,
    )
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total} frames"))
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("detecting", total=round(duration_sec / period_sec) + 1)
        replay(
            source,
            out / "detections",
            options,
            on_progress=lambda status: progress.update(task, completed=status.rgb.received),
        )

    recording = read_recording(out / "detections")
    topics: dict[str, Any] = {"rgb_topic": RGB_TOPIC, "thermal_topic": THERMAL_TOPIC}
    summary: dict[str, Any] = summarise(source, recording, **topics)
    summary |= {"checkpoint": str(checkpoint), "rate": round(rate, 4), "wall_sec": 0.0}
    if recording.arrays:
        view = thermal_view_of(options)
        draw_replay(source, recording, out, rate_hz=min(1 / period_sec, 30.0), view=view, **topics)
    summary["wall_sec"] = round(time.monotonic() - started, 1)
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    tell(summary, out)
    return report_faults(summary)


def parse_arguments() -> argparse.Namespace:
    """Return the options; invalid ones end the process with an error message."""
    parser = argparse.ArgumentParser(
        prog="tools/demo.sh",
        description="Replay two cameras through the detector node over DDS. Default: a procedural street at night.",
        epilog="example: bash tools/demo.sh --rgb visible.mp4 --thermal infrared.mp4",
    )
    parser.add_argument("--rgb", type=Path, help="video or folder of images of the RGB camera")
    parser.add_argument("--thermal", type=Path, help="video or folder of images of the thermal camera")
    parser.add_argument("--checkpoint", type=Path, help="checkpoint (default: the one of the package)")
    parser.add_argument("--registration", type=Path, help="YAML of 'fusion-mamba register' (default: the checkpoint's)")
    parser.add_argument(
        "--thermal-offset", type=float, default=0.0, help="seconds added to thermal stamps (default: 0)"
    )
    parser.add_argument("--out", type=Path, default=Path("demo_out"), help="folder for the results (default: demo_out)")
    parser.add_argument(
        "--rate", type=float, help="playback speed, 1 = as recorded (default: as fast as the node keeps up)"
    )
    parser.add_argument("--scene", choices=("night", "day"), default="night", help="procedural scene (default: night)")
    parser.add_argument("--seed", type=int, default=1005, help="seed of the procedural street (default: 1005)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the procedural scene (default: 10)")
    parser.add_argument(
        "--domain-id", type=int, default=random.randint(1, 100), help="ROS domain (default: a random one)"
    )
    arguments = parser.parse_args()
    if (arguments.rgb is None) != (arguments.thermal is None):
        parser.error("give both --rgb and --thermal, or neither for the procedural scene")
    if arguments.rate is not None and not 0.001 <= arguments.rate <= 1000:
        parser.error(f"--rate is {arguments.rate:g}: expected 0.001 to 1000")
    return arguments


def node_parameters(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the node parameters that the options set, as text."""
    from fusion_mamba_ros.perception.registration import read_homography

    parameters = {}
    if arguments.registration is not None:
        parameters["registration.homography"] = str(read_homography(arguments.registration).ravel().tolist())
    if arguments.thermal_offset:
        parameters["pairing.thermal_offset_sec"] = str(arguments.thermal_offset)
    return parameters


def prepare_folder(out: Path) -> Path:
    """Create the folder for the results, or remove the results of an earlier run from it, and return it.

    Raises ``ValueError`` if the folder contains any other file.
    """
    own = {"cameras", "detections", "annotated.mp4", "contact_sheet.png", "summary.json"}
    own |= {"detector_node.log", "bag_player.log"}
    out.mkdir(parents=True, exist_ok=True)
    strangers = sorted(entry.name for entry in out.iterdir() if entry.name not in own)
    if strangers:
        raise ValueError(
            f"folder '{out}' contains {', '.join(strangers[:3])}, which the demo did not write: choose another --out"
        )
    for entry in out.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    return out


def make_bag(arguments: argparse.Namespace, path: Path) -> None:
    """Write the two cameras to a bag."""
    from fusion_mamba_ros.bags.camera_recording import record_scene, record_sequences
    from fusion_mamba_ros.bags.recording_options import RecordingOptions
    from fusion_mamba_ros.commands.progress_bar import progress_bar

    options = RecordingOptions(rgb_topic=RGB_TOPIC, thermal_topic=THERMAL_TOPIC, start_ns=time.time_ns())
    with progress_bar(f"writing {path}") as on_progress:
        if arguments.rgb is not None:
            cameras = {"rgb": arguments.rgb, "thermal": arguments.thermal}
            recording = record_sequences(path, options, **cameras, on_progress=on_progress)
        else:
            recording = record_scene(
                path,
                options,
                night=arguments.scene == "night",
                seed=arguments.seed,
                seconds=arguments.seconds,
                on_progress=on_progress,
            )
    for note in recording.notes:
        console.print(f"demo: {note}", markup=False, soft_wrap=True)


def bag_timing(path: Path) -> tuple[float, float]:
    """Return the mean period of the RGB camera and the length of the bag, both in seconds."""
    from fusion_mamba_ros.bags.bag_reading import Bag

    with Bag(path) as bag:
        duration_sec = max(bag.duration_ns / 1e9, 1e-3)
        return duration_sec / max(bag.topics[RGB_TOPIC].count - 1, 1), duration_sec


def measure_inference(checkpoint: Path, path: Path) -> float:
    """Return the seconds that one pair of the bag takes on this machine: the median after a warm-up."""
    from fusion_mamba_ros.bags.bag_reading import Bag
    from fusion_mamba_ros.perception.predictor import Predictor
    from fusion_mamba_ros.streams.message_decoding import image_of

    with Bag(path) as bag:
        rgb = image_of(next(bag.read([RGB_TOPIC]))[1]).to_rgb()
        thermal = image_of(next(bag.read([THERMAL_TOPIC]))[1]).to_thermal()
    predictor = Predictor.from_checkpoint(checkpoint)
    times: list[float] = []
    # On a busy machine a pair may take many seconds, so the number of timed pairs is limited by time.
    while len(times) < 2 or (len(times) < _WARM_UP_PAIRS + _TIMED_PAIRS and sum(times) < _LONGEST_TIMING_SEC):
        started = time.perf_counter()
        predictor.predict({"rgb": rgb, "thermal": thermal})
        times.append(time.perf_counter() - started)
    return statistics.median(times[min(_WARM_UP_PAIRS, len(times) - 1) :])


def play_rate(period_sec: float, duration_sec: float, inference_sec: float) -> float:
    """Return the playback speed as a factor of the recorded speed, at most 1.

    The node keeps up at this speed, unless the replay would then take longer than ``_LONGEST_PLAY_SEC``.
    """
    manageable = period_sec / (_HEADROOM * inference_sec + _OVERHEAD_SEC)
    return min(1.0, max(manageable, duration_sec / _LONGEST_PLAY_SEC))


def tell(summary: dict[str, Any], out: Path) -> None:
    """Print the summary and the paths of the results."""
    counters = summary["counters"]["rgb"]
    classes = ", ".join(f"{count} {name}" for name, count in summary["detections_by_class"].items()) or "none"
    latency = summary["latency_ms"]
    lost = summary["lost_in_transport"]
    print(f"frames      {summary['frames_rgb']} RGB, {summary['frames_thermal']} thermal; lost in transport "
          f"{lost['rgb']} and {lost['thermal']}")  # fmt: skip
    print(f"pairs       {summary['pairs']} published, {counters['dropped']} dropped for newer ones, "
          f"{counters['unpaired']} RGB frames unpaired, {counters['alone']} RGB only")  # fmt: skip
    print(f"detections  {summary['detections']} in {summary['published']} arrays: {classes}")
    if latency["p50"] is not None:
        print(f"latency     p50 {latency['p50']:.0f} ms, p95 {latency['p95']:.0f} ms from the later image to the array")
    for name, what in (
        ("contact_sheet.png", "some pairs with their boxes"),
        ("annotated.mp4", "all pairs with their boxes"),
        ("detections", "the recorded bag"),
        ("summary.json", "these numbers and all counters"),
    ):
        print(f"  {out / name}: {what}")


def report_faults(summary: dict[str, Any]) -> int:
    """Print each fault; return 1 if there is one, otherwise 0."""
    faults = list(summary["faults"])
    if not summary["published"]:
        faults.append("the node published nothing: see detector_node.log")
    for fault in faults:
        console.print(f"demo: {fault}", markup=False, soft_wrap=True)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
