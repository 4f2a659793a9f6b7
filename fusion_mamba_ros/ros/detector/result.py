# SPDX-License-Identifier: Apache-2.0
"""The input and the output of the inference thread: a released pair, and its detections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt
from std_msgs.msg import Header

from fusion_mamba_ros.perception.detections import Detections, Mode
from fusion_mamba_ros.perception.rectification import Rectification
from fusion_mamba_ros.streams.frames import LoneFrame, Pair


@dataclass(frozen=True, eq=False)
class Result:
    """Detections of one pair, with their images and timings, ready to be published.

    ``detections`` are in pixels of the RGB image as it was received. ``header`` is the header of the array. ``images``
    are the images that the network saw, decoded and rectified, and ``seen`` the detections in pixels of these; the same
    as ``detections`` unless the RGB image was rectified. ``reference_size`` is the (width, height) of the last RGB
    image, or None before the first one; the boxes are then in pixels of the thermal image.
    ``offset_ns`` is the thermal stamp minus the RGB stamp, or None unless both images were used. ``arrived_ns`` is the
    steady time at which the later image arrived; ``pairing_ms``, ``queue_ms``, ``decode_ms`` and ``inference_ms`` are
    the stages that follow. ``further_offsets_ns`` holds, for each modality besides RGB and thermal, the stamp of its
    image minus the stamp of the array. ``thermal_header`` is the header of the thermal image in ``images``, or None if
    there is none; ``thermal_lens`` is the rectification of that image, or None if it was not rectified.
    """

    detections: Detections
    seen: Detections
    mode: Mode
    header: Header
    images: dict[str, npt.NDArray[Any]]
    reference_size: tuple[int, int] | None
    offset_ns: int | None
    arrived_ns: int
    pairing_ms: float
    queue_ms: float
    decode_ms: float
    inference_ms: float
    further_offsets_ns: Mapping[str, int] = field(default_factory=dict)
    thermal_header: Header | None = None
    thermal_lens: Rectification | None = None


@dataclass(frozen=True, eq=False)
class Job:
    """A pair or a lone frame, with the steady time at which pairing released it."""

    released: Pair | LoneFrame
    released_ns: int
