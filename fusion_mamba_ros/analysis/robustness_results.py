# SPDX-License-Identifier: Apache-2.0
"""Compute mAP of each cell of a robustness study with its interval, and the levels at which the fusion breaks down."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.analysis.degradations import Factor
from fusion_mamba_ros.analysis.robustness import CLEAN, RobustnessCells
from fusion_mamba_ros.analysis.robustness_plan import Condition
from fusion_mamba_ros.evaluation.detection_metrics import measure
from fusion_mamba_ros.evaluation.detection_results import DetectionResults
from fusion_mamba_ros.evaluation.seed_bootstrap import CONFIDENCE, SeedBootstrap
from fusion_mamba_ros.perception.mode import Mode


@dataclass(frozen=True)
class Value:
    """A number with the bounds of its bootstrap interval over the images."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, sampled: npt.NDArray[np.float64]) -> Value:
        """Return the first number with the interval of the others, which are the bootstrap samples."""
        tail = (1 - CONFIDENCE) / 2
        low, high = np.quantile(sampled[1:][np.isfinite(sampled[1:])], [tail, 1 - tail])
        return cls(float(sampled[0]), float(low), float(high))


@dataclass(frozen=True)
class Cell:
    """Figures of one mode under one condition. ``map50``: with its interval. ``map``: over IoU 0.50 to 0.95."""

    map50: Value
    map: float


@dataclass(frozen=True)
class ConditionFigures:
    """Figures of one checkpoint under one condition.

    ``single``: the better single mode. ``margin``: mAP50 of `fused` minus that of ``single``; the interval compares
    with the better single mode of each bootstrap sample.
    """

    condition: Condition
    cells: dict[Mode, Cell]
    single: Mode
    margin: Value

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "condition": self.condition.name,
            "levels": {factor.name: level for factor, level in self.condition.steps},
            "modes": {mode.value: {"mAP50": vars(cell.map50), "mAP": cell.map} for mode, cell in self.cells.items()},
            "better_single": self.single.value,
            "margin": vars(self.margin),
        }


@dataclass(frozen=True)
class BreakingPoints:
    """The levels at which one checkpoint breaks down under one factor; None if it does not up to the last level.

    ``below_single``: the first level at which the fused mode has a lower mAP50 than the better single mode at this
    level. ``clearly_below``: the first at which the interval of this difference is below zero. ``half``: the first
    level at which the fused mode has at most half of its clean mAP50.
    """

    factor: Factor
    below_single: float | None
    clearly_below: float | None
    half: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**vars(self), "factor": self.factor.name}


@dataclass(frozen=True)
class CheckpointFigures:
    """All figures of one checkpoint, by the name of the condition."""

    label: str
    conditions: dict[str, ConditionFigures]

    def at(self, *steps: tuple[Factor, float]) -> ConditionFigures:
        """Return the figures at these levels."""
        return self.conditions[Condition.of(*steps).name]

    def curve(self, factor: Factor) -> list[tuple[float, ConditionFigures]]:
        """Return the figures at level 0 and at each level of the factor."""
        return [(level, self.at((factor, level))) for level in (0.0, *factor.levels)]

    def breaking_points(self, factor: Factor) -> BreakingPoints:
        """Return the levels at which the fused mode breaks down under ``factor``."""
        curve = self.curve(factor)
        half = curve[0][1].cells[Mode.FUSED].map50.value / 2
        return BreakingPoints(
            factor,
            _first(level for level, found in curve if found.margin.value < 0),
            _first(level for level, found in curve if found.margin.high < 0),
            _first(level for level, found in curve if found.cells[Mode.FUSED].map50.value <= half),
        )


def _first(levels: Any) -> float | None:
    return next(iter(levels), None)


def summarise(
    label: str, cells: RobustnessCells, conditions: Sequence[Condition], samples: int = 1000
) -> CheckpointFigures:
    """Return the figures of a checkpoint whose cells are complete. Raises ``ValueError`` if no pair has a true box."""
    bootstrap = SeedBootstrap(cells.pairs.names, samples)
    known: dict[bytes, tuple[npt.NDArray[np.float64], float]] = {}

    def figures(condition: Condition, mode: Mode) -> tuple[npt.NDArray[np.float64], float]:
        results = DetectionResults.load(cells.path(condition, mode))
        # Many cells hold the detections of a clean cell, because their images do not change.
        key = _digest(results)
        if key not in known:
            average = measure(results).map
            if average is None:
                raise ValueError("no pair has a true box of the checkpoint's classes: nothing to measure")
            known[key] = (bootstrap.map50(results), average)
        return known[key]

    found = {}
    for condition in dict.fromkeys((CLEAN, *conditions)):
        by_mode = {mode: figures(condition, mode) for mode in cells.modes}
        singles = [mode for mode in cells.modes if mode is not Mode.FUSED]
        margin = by_mode[Mode.FUSED][0] - np.max([by_mode[mode][0] for mode in singles], axis=0)
        found[condition.name] = ConditionFigures(
            condition,
            {mode: Cell(Value.of(sampled), average) for mode, (sampled, average) in by_mode.items()},
            max(singles, key=lambda mode: float(by_mode[mode][0][0])),
            Value.of(margin),
        )
    return CheckpointFigures(label, found)


def _digest(results: DetectionResults) -> bytes:
    digest = hashlib.sha256()
    for image in results.images:
        for array in (image.detections.boxes, image.detections.scores, image.detections.labels):
            digest.update(array.tobytes())
        digest.update(b"|")
    return digest.digest()
