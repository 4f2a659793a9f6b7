# SPDX-License-Identifier: Apache-2.0
"""Settings of the evaluation of a bag."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from fusion_mamba_ros.perception.tiling import DEFAULT_OVERLAP, Tiling

PROTOCOLS = ("coco", "published")
_MOST_OFFSET_SEC = 1e6


@dataclass(frozen=True)
class DetectorOptions:
    """The detector to run. ``checkpoint`` None is that of the package.

    ``registration`` is the YAML file with a homography, None for that of the checkpoint. ``threads`` is the number of
    CPU threads; 0: the engine decides. ``engine`` is a name of the engine registry, `auto` by the suffix of the file.
    ``tiles`` and ``tile_overlap`` are the node's parameters; without ``tiles`` the whole image is used.
    """

    checkpoint: Path | None = None
    device: str = "auto"
    precision: str = "auto"
    threads: int = 0
    registration: Path | None = None
    engine: str = "auto"
    tiles: str = ""
    tile_overlap: float = DEFAULT_OVERLAP


@dataclass(frozen=True)
class BagEvaluationOptions:
    """What to evaluate in a bag, and how. All values are plain, so that another process can take them.

    ``ground_truth`` is a topic or a path, see `read_ground_truth`. With ``detections``, the name of a topic, no
    detector runs. That topic is in ``detections_bag`` or, if it is None, in the evaluated bag. ``protocol`` is `coco`
    or `published`. ``tolerance_sec`` None is a quarter of the camera's median period. ``score_threshold`` None is that
    of the checkpoint. Raises ``ValueError`` on a value out of range.
    """

    ground_truth: str | None = None
    ground_truth_topic: str | None = None
    detections: str | None = None
    detections_bag: Path | None = None
    detector: DetectorOptions = DetectorOptions()
    score_threshold: float | None = None
    protocol: str = "coco"
    rgb_topic: str = "/rgb/image_raw"
    thermal_topic: str = "/thermal/image_raw"
    tolerance_sec: float | None = None
    max_offset_sec: float = 0.05
    thermal_offset_sec: float = 0.0
    timeout_sec: float = 0.5
    freeze_timeout_sec: float = 0.4
    speeds: tuple[float, ...] = (1.0,)
    window_sec: float = 30.0

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise ValueError(f"--protocol is '{self.protocol}': expected {' or '.join(PROTOCOLS)}")
        if self.rgb_topic == self.thermal_topic:
            raise ValueError(f"both cameras have the topic '{self.rgb_topic}': give each its own (--topics)")
        for name, value, least, most in (
            ("--tolerance", self.tolerance_sec, 0.0, 10.0),
            ("--max-offset", self.max_offset_sec, 0.0, 10.0),
            ("--thermal-offset", self.thermal_offset_sec, -_MOST_OFFSET_SEC, _MOST_OFFSET_SEC),
            ("--timeout", self.timeout_sec, 0.01, 60.0),
            ("--freeze-timeout", self.freeze_timeout_sec, 0.0, 60.0),
            ("--score-threshold", self.score_threshold, 0.0, 1.0),
            ("--window", self.window_sec, 0.001, 1e6),
            *(("--speed", speed, 0.001, 1000.0) for speed in self.speeds),
        ):
            if value is not None and not (math.isfinite(value) and least <= value <= most):
                raise ValueError(f"{name} is {value:g}: expected {least:g} to {most:g}")
        Tiling.parse(self.detector.tiles, self.detector.tile_overlap)
        if self.detections is None and self.detections_bag is not None:
            raise ValueError("--detections-bag needs --detections: name the topic in it")
