# SPDX-License-Identifier: Apache-2.0
"""The checked values of the detector node's parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fusion_mamba_ros.perception.registration import homography_from
from fusion_mamba_ros.ros.detector.parameter_spec import ParameterError
from fusion_mamba_ros.ros.detector.parameter_table import CHECKPOINT_SCORE_THRESHOLD, SPECS
from fusion_mamba_ros.ros.detector.tiling_parameters import check_tiling
from fusion_mamba_ros.streams.message_text import quoted

__all__ = ["CHECKPOINT_SCORE_THRESHOLD", "SPECS", "DetectorParameters"]

# A topic name, absolute, relative or private, as in the ROS design article "Topic and service names".
_TOPIC = re.compile(r"(/|~/)?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*")


@dataclass(frozen=True)
class DetectorParameters:
    """The checked values of all parameters. Field names are the ROS names with ``_`` in place of ``.``."""

    checkpoint: str
    engine: str
    device: str
    precision: str
    threads: int
    pairs: tuple[str, ...]
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
    rectify: str
    rgb_camera_info_topic: str
    rgb_freeze_timeout_sec: float
    thermal_camera_info_topic: str
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
        for name in ("rgb.camera_info_topic", "thermal.camera_info_topic"):
            _check_topic(name, checked[name.replace(".", "_")])
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


def _check_topic(name: str, topic: str) -> None:
    if topic and _TOPIC.fullmatch(topic) is None:
        raise ParameterError(
            f"parameter {name} is {quoted(topic)}: expected a topic name of letters, digits, _ and /, as in "
            "/camera/camera_info"
        )
