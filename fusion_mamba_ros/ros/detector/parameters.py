# SPDX-License-Identifier: Apache-2.0
"""The table of the detector node's parameters: name, default, meaning, range, and when each may change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fusion_mamba_ros.perception.engine_loading import AUTO, engine_names
from fusion_mamba_ros.perception.registration import homography_from
from fusion_mamba_ros.ros.detector.parameter_spec import ParameterError, ParameterSpec
from fusion_mamba_ros.ros.detector.tiling_parameters import TILING_SPECS, check_tiling

# Value of score_threshold that selects the threshold stored in the checkpoint.
CHECKPOINT_SCORE_THRESHOLD = -1.0

SPECS: tuple[ParameterSpec, ...] = (
    ParameterSpec(
        "checkpoint",
        "",
        "Path of the .safetensors checkpoint or of the exported model to load; empty: the weights that come with the "
        "package.",
        str,
    ),
    ParameterSpec(
        "engine",
        AUTO,
        "Software that runs the network; auto: by the suffix of the checkpoint.",
        str,
        choices=engine_names(),
    ),
    ParameterSpec("device", "auto", "Where the network runs: auto, cpu, cuda or cuda:N.", str),
    ParameterSpec(
        "precision",
        "auto",
        "Arithmetic of the network.",
        str,
        choices=("auto", "fp32", "fp16", "bf16"),
    ),
    ParameterSpec(
        "threads",
        0,
        "CPU threads of the network; 0: automatic, one for each core.",
        int,
        minimum=0,
        maximum=1024,
    ),
    ParameterSpec(
        "score_threshold",
        CHECKPOINT_SCORE_THRESHOLD,
        "Detections below this score are not published; -1: the threshold stored in the checkpoint, 0.25 without one.",
        float,
        live=True,
        minimum=0.0,
        maximum=1.0,
        special=CHECKPOINT_SCORE_THRESHOLD,
    ),
    ParameterSpec(
        "nms_threshold",
        0.5,
        "Of two boxes of one class that overlap by more (IoU), the weaker goes.",
        float,
        live=True,
        minimum=0.0,
        maximum=1.0,
    ),
    ParameterSpec(
        "max_detections",
        300,
        "At most this many detections in one array, the best.",
        int,
        live=True,
        minimum=1,
        maximum=3000,
    ),
    ParameterSpec(
        "classes",
        [],
        "Names of the classes to publish; empty: all of the checkpoint.",
        list,
        live=True,
    ),
    ParameterSpec(
        "class_id_format",
        "name",
        "What hypothesis.class_id holds.",
        str,
        live=True,
        choices=("name", "index"),
    ),
    *TILING_SPECS,
    ParameterSpec(
        "tracking",
        False,
        "Give the boxes of one object the same id in every array, in Detection2D.id.",
        bool,
    ),
    ParameterSpec(
        "contributions",
        False,
        "Compute the share of each modality in the detections for ~/status; takes about twice the time of inference.",
        bool,
    ),
    ParameterSpec(
        "pairing.max_offset_sec",
        0.05,
        "Frames whose stamps differ by more are never paired, seconds.",
        float,
        live=True,
        minimum=0.0,
        maximum=10.0,
    ),
    ParameterSpec(
        "pairing.thermal_offset_sec",
        0.0,
        "Constant added to every thermal stamp before pairing, seconds.",
        float,
        live=True,
        minimum=-10.0,
        maximum=10.0,
    ),
    ParameterSpec(
        "pairing.timeout_sec",
        0.5,
        "A camera without a fresh image for this long is missing, seconds.",
        float,
        live=True,
        minimum=0.01,
        maximum=60.0,
    ),
    ParameterSpec(
        "pairing.queue_size",
        20,
        "Frames of each camera that may wait for a partner.",
        int,
        live=True,
        minimum=1,
        maximum=1000,
    ),
    ParameterSpec(
        "pairing.use_arrival_time",
        False,
        "Use the time at which an image arrives in place of its stamp, for drivers that do not stamp.",
        bool,
    ),
    ParameterSpec(
        "further.max_offset_sec",
        0.05,
        "An image of a modality besides RGB and thermal is used if its stamp differs from the array's by at most this, "
        "seconds.",
        float,
        live=True,
        minimum=0.0,
        maximum=10.0,
    ),
    ParameterSpec(
        "missing_modality",
        "continue",
        "With one camera missing: continue on the other, or stop publishing.",
        str,
        live=True,
        choices=("continue", "stop"),
    ),
    ParameterSpec(
        "inference.timeout_sec",
        0.0,
        "Inference that runs longer is an ERROR in diagnostics, seconds; 0: ten times its p95, at least 2 s.",
        float,
        live=True,
        minimum=0.0,
        maximum=3600.0,
    ),
    ParameterSpec(
        "rgb.freeze_timeout_sec",
        0.0,
        "An RGB image repeated bit for bit for this long is frozen, seconds; 0: never.",
        float,
        live=True,
        minimum=0.0,
        maximum=60.0,
    ),
    ParameterSpec(
        "thermal.scaling",
        "checkpoint",
        "How 16-bit thermal counts become grey levels; checkpoint: as in training.",
        str,
        choices=("checkpoint", "percentile", "range", "passthrough"),
    ),
    ParameterSpec(
        "thermal.range_min",
        0.0,
        "Counts drawn black by the scaling 'range'.",
        float,
        minimum=0.0,
        maximum=65535.0,
    ),
    ParameterSpec(
        "thermal.range_max",
        65535.0,
        "Counts drawn white by the scaling 'range'.",
        float,
        minimum=0.0,
        maximum=65535.0,
    ),
    ParameterSpec(
        "thermal.polarity",
        "checkpoint",
        "Whether the camera draws heat bright or dark; checkpoint: as the camera of training.",
        str,
        choices=("checkpoint", "white_hot", "black_hot"),
    ),
    ParameterSpec(
        "thermal.freeze_timeout_sec",
        0.4,
        "A thermal image repeated bit for bit for this long is frozen (flat-field correction), seconds.",
        float,
        live=True,
        minimum=0.0,
        maximum=60.0,
    ),
    ParameterSpec(
        "registration.homography",
        [],
        "3x3 by rows, thermal to RGB in image coordinates from 0 to 1 (`fusion-mamba register`); "
        "empty: that of the checkpoint.",
        list,
        element=float,
    ),
    ParameterSpec(
        "image_transport",
        "raw",
        "raw: sensor_msgs/Image; compressed: CompressedImage on <topic>/compressed.",
        str,
        choices=("raw", "compressed"),
    ),
)


@dataclass(frozen=True)
class DetectorParameters:
    """The checked values of all parameters. Field names are the ROS names with ``_`` in place of ``.``."""

    checkpoint: str
    engine: str
    device: str
    precision: str
    threads: int
    score_threshold: float
    nms_threshold: float
    max_detections: int
    classes: tuple[str, ...]
    class_id_format: str
    tiles: str
    tile_overlap: float
    tracking: bool
    contributions: bool
    pairing_max_offset_sec: float
    pairing_thermal_offset_sec: float
    pairing_timeout_sec: float
    pairing_queue_size: int
    pairing_use_arrival_time: bool
    further_max_offset_sec: float
    missing_modality: str
    inference_timeout_sec: float
    rgb_freeze_timeout_sec: float
    thermal_scaling: str
    thermal_range_min: float
    thermal_range_max: float
    thermal_polarity: str
    thermal_freeze_timeout_sec: float
    registration_homography: tuple[float, ...] | None
    image_transport: str

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> DetectorParameters:
        """Return checked parameters from ROS names and values. Raises :class:`ParameterError`."""
        checked = {spec.name.replace(".", "_"): spec.value_of(values[spec.name]) for spec in SPECS}
        checked["classes"] = _class_names(checked["classes"])
        checked["registration_homography"] = _homography(checked["registration_homography"])
        check_tiling(checked)
        if not checked["thermal_range_min"] < checked["thermal_range_max"]:
            raise ParameterError(
                f"parameter thermal.range_min is {checked['thermal_range_min']:g}, thermal.range_max is "
                f"{checked['thermal_range_max']:g}: expected range_min < range_max"
            )
        return cls(**checked)


def _class_names(values: tuple[Any, ...]) -> tuple[str, ...]:
    if any(not isinstance(name, str) for name in values):
        raise ParameterError(f"parameter classes is {list(values)!r}: expected a list of class names")
    # [""] also means all classes: not every ROS tool can express an empty list.
    return tuple(name for name in values if name)


def _homography(values: tuple[Any, ...]) -> tuple[float, ...] | None:
    if not values:
        return None
    try:
        return tuple(homography_from(values).ravel().tolist())
    except ValueError as error:
        raise ParameterError(f"parameter registration.homography: {error}") from error
