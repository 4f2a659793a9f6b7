# SPDX-License-Identifier: Apache-2.0
"""Score calibration by temperature scaling: one temperature per class, and a score threshold to use with them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Calibration:
    """The calibration that turns raw scores of a detector into calibrated scores.

    ``temperatures`` holds one positive number for each class. A score with logit z becomes sigmoid(z / temperature). A
    temperature of 1 changes nothing, and the order of the detections of one class never changes. ``score_threshold`` is
    the calibrated score at which F1 is highest. ``fitted`` records the data, the mode and the effect of the
    calibration. Source: arXiv 1706.04599. Raises ``ValueError`` if a temperature or the threshold is out of range.
    """

    temperatures: tuple[float, ...]
    score_threshold: float
    fitted: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) and value > 0 for value in self.temperatures):
            raise ValueError(f"calibration temperatures are {self.temperatures}: expected positive numbers")
        if not 0.0 <= self.score_threshold <= 1.0:
            raise ValueError(f"calibration score_threshold is {self.score_threshold}: expected 0 to 1")

    def apply(self, probabilities: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return calibrated scores, float32, for raw scores ``probabilities`` (..., classes)."""
        values = np.asarray(probabilities, np.float32)
        # A score of 0 or 1 has an infinite logit, and keeps its value.
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            logits = np.log(values / (1 - values)) / np.asarray(self.temperatures, np.float32)
            return np.asarray(1 / (1 + np.exp(-logits)), np.float32)

    def calibrate(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the decoded rows (..., 4 + classes) of an engine with calibrated scores and unchanged boxes."""
        return np.concatenate((rows[..., :4], self.apply(rows[..., 4:])), axis=-1)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "temperatures": list(self.temperatures),
            "score_threshold": self.score_threshold,
            "fitted": dict(self.fitted),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Return the calibration from the values that ``to_dict`` returned."""
        temperatures = tuple(float(value) for value in values["temperatures"])
        return cls(temperatures, float(values["score_threshold"]), values.get("fitted", {}))
