# SPDX-License-Identifier: Apache-2.0
"""Play a bag to a detector node, each in its own process over real DDS, and record the node's output."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from fusion_mamba_ros.bags.bag_reading import IMAGE_TYPES, Bag, BagError
from fusion_mamba_ros.evaluation.replay_report import ThermalView
from fusion_mamba_ros.msg import FusionStatus
from fusion_mamba_ros.perception.engine_loading import read_model_document
from fusion_mamba_ros.ros.bag_tools.child_process import ChildProcess, ReplayError
from fusion_mamba_ros.ros.bag_tools.replay_observer import observe
from fusion_mamba_ros.ros.detector.parameters import SPECS, DetectorParameters
from fusion_mamba_ros.ros.detector.predictor_loading import homography_of, thermal_scaling_of

__all__ = ["ReplayError", "ReplayOptions", "replay", "thermal_view_of"]

_PROCESSED_SEC = 20.0
_PLAYER_GRACE_SEC = 60.0
_TIMEOUTS = ("pairing.timeout_sec", "thermal.freeze_timeout_sec")


@dataclass(frozen=True)
class ReplayOptions:
    """Settings of a replay.

    ``rate`` is a factor of the recorded speed. ``parameters`` maps names of node parameters to values as text.
    ``logs`` is the folder for the output of both processes.
    """

    checkpoint: Path
    logs: Path
    rate: float = 1.0
    rgb_topic: str = "/rgb/image_raw"
    thermal_topic: str = "/thermal/image_raw"
    parameters: Mapping[str, str] = field(default_factory=dict)


def replay(
    bag_path: Path,
    recording: Path,
    options: ReplayOptions,
    *,
    on_progress: Callable[[FusionStatus], None] = lambda status: None,
) -> FusionStatus:
    """Play the bag to a node and record `detections`, `label_info` and the status to ``recording``.

    Return the last status, which counts every frame that reached the node in exactly one counter. ``on_progress`` is
    called for each status. Raises `BagError` or `ReplayError`. Both processes have ended when this function returns or
    raises. Every wait has a time limit.
    """
    with Bag(bag_path) as bag:
        bag.require([options.rgb_topic, options.thermal_topic], IMAGE_TYPES)
        frames = tuple(bag.topics[topic].count for topic in (options.rgb_topic, options.thermal_topic))
        duration_sec = bag.duration_ns / 1e9 / options.rate
        compressed = _are_compressed(bag, options.rgb_topic, options.thermal_topic)
    arguments = _node_arguments(options, compressed)
    with (
        observe(recording, on_progress) as observer,
        ChildProcess("detector.detector_node", arguments, options.logs) as detector,
    ):
        observer.bring_up(detector)
        player_arguments = [
            str(bag_path), "--rate", f"{options.rate:g}", "--topics", options.rgb_topic, options.thermal_topic,
            "--wait-for-subscribers", "30", "--require-subscribers",
        ]  # fmt: skip
        with ChildProcess("bag_tools.bag_player", player_arguments, options.logs) as player:
            done = lambda: player.poll() is not None or detector.poll() is not None  # noqa: E731
            if not observer.spin_until(done, duration_sec + _PLAYER_GRACE_SEC):
                raise ReplayError(f"bag_player did not end {_PLAYER_GRACE_SEC:g} s after the end of the bag")
            detector.require_alive()
            player.require_success()
        observer.spin_until(lambda: observer.all_processed(*frames), _PROCESSED_SEC)
        detector.require_alive()
    if observer.last_status is None:
        raise ReplayError("the detector node sent no status: see its log")
    return observer.last_status


def thermal_view_of(options: ReplayOptions) -> ThermalView:
    """Return the homography, scaling and time offset that the node applies to the thermal camera.

    Raises ``ValueError`` for parameters that the node would refuse.
    """
    values = {spec.name: spec.default for spec in SPECS}
    values |= {name: yaml.safe_load(text) for name, text in options.parameters.items() if name in values}
    parameters = DetectorParameters.from_values(values)
    metadata = read_model_document(options.checkpoint).metadata
    return ThermalView(
        homography_of(parameters, metadata),
        thermal_scaling_of(parameters, metadata),
        parameters.pairing_thermal_offset_sec,
    )


def _are_compressed(bag: Bag, rgb_topic: str, thermal_topic: str) -> bool:
    """Return whether the topics hold compressed images. Raises `BagError` if the node cannot subscribe to both."""
    rgb, thermal = (bag.topics[name].message_type for name in (rgb_topic, thermal_topic))
    if rgb != thermal:
        raise BagError(
            f"'{rgb_topic}' of bag '{bag.path}' holds {rgb}, '{thermal_topic}' holds {thermal}: "
            "the node takes both raw or both compressed, name two topics of one kind"
        )
    compressed = rgb.endswith("CompressedImage")
    for name in (rgb_topic, thermal_topic):
        if compressed and not name.endswith("/compressed"):
            raise BagError(
                f"'{name}' of bag '{bag.path}' holds {rgb}: "
                "the node takes these from topics that end in /compressed, record or rename it so"
            )
    return compressed


def _node_arguments(options: ReplayOptions, compressed: bool) -> list[str]:
    rgb, thermal = options.rgb_topic, options.thermal_topic
    if compressed:
        # The node itself appends the suffix to the base name of the topic.
        rgb, thermal = rgb.removesuffix("/compressed"), thermal.removesuffix("/compressed")
    # At a rate below 1, frames arrive further apart on the node's clock: lengthen its timeouts accordingly.
    slowness = max(1.0, 1 / options.rate)
    timeouts = {
        spec.name: f"{min(spec.maximum or math.inf, slowness * spec.default):g}"
        for spec in SPECS
        if spec.name in _TIMEOUTS
    }
    parameters = {
        "checkpoint": str(options.checkpoint),
        "image_transport": "compressed" if compressed else "raw",
        **timeouts,
        **options.parameters,
    }
    arguments = ["--ros-args", "-r", f"rgb/image_raw:={rgb}", "-r", f"thermal/image_raw:={thermal}"]
    for name, value in parameters.items():
        arguments += ["-p", f"{name}:={value}"]
    return arguments
