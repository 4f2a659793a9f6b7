# SPDX-License-Identifier: Apache-2.0
"""Post-processing thresholds. This module needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fusion_mamba_ros.perception.calibration import Calibration


@dataclass(frozen=True)
class Thresholds:
    """Post-processing thresholds.

    ``score_threshold`` and ``nms_threshold`` are in [0, 1]. ``max_detections`` limits the detections of one image.
    ``classes`` are the names of the classes to keep, None for all. With ``multi_label`` an anchor may give detections
    of several classes (the evaluation protocol). Raises ``ValueError`` if a value is out of range.
    """

    score_threshold: float = 0.25
    nms_threshold: float = 0.5
    max_detections: int = 300
    classes: tuple[str, ...] | None = None
    multi_label: bool = False

    def __post_init__(self) -> None:
        for name in ("score_threshold", "nms_threshold"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} is {value:g}: expected 0 to 1")
        if self.max_detections < 1:
            raise ValueError(f"max_detections is {self.max_detections}: expected at least 1")


def default_thresholds(calibration: Calibration | None) -> Thresholds:
    """Return the default thresholds.

    The score threshold is that of the calibration (highest F1), or 0.25 without a calibration.
    """
    return Thresholds() if calibration is None else Thresholds(score_threshold=calibration.score_threshold)


def labels_of(classes: Sequence[str], class_names: Sequence[str]) -> tuple[int, ...]:
    """Return the index of each of ``classes`` in ``class_names``. Raises ``ValueError`` if one is unknown."""
    unknown = [name for name in classes if name not in class_names]
    if unknown:
        raise ValueError(f"unknown class {', '.join(unknown)}: the checkpoint knows {', '.join(class_names)}")
    return tuple(class_names.index(name) for name in classes)
