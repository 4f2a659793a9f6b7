# SPDX-License-Identifier: Apache-2.0
"""Summarise contributions of modalities: shares with intervals, steps of a degradation, agreement with the gates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from fusion_mamba_ros.analysis.degradations import Factor
from fusion_mamba_ros.analysis.modality import Array, ContributionStudy
from fusion_mamba_ros.analysis.robustness import CLEAN
from fusion_mamba_ros.analysis.robustness_results import Value


@dataclass(frozen=True)
class Step:
    """Share of the degraded modality at one level, by occlusion and by gates, with the change from level 0.

    ``change``: its interval pairs the same frames. The values of the gates are None without gates.
    """

    level: float
    detections: int
    share: Value
    change: Value
    gate_share: Value | None
    gate_change: Value | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {name: vars(value) if isinstance(value, Value) else value for name, value in vars(self).items()}


@dataclass(frozen=True)
class Agreement:
    """Correlation of the two shares over the detections; ``shuffled``: 95 % range with shuffled detections."""

    correlation: Value
    shuffled_low: float
    shuffled_high: float
    detections: int


class ModalityFigures:
    """Figures of a study, with bootstrap intervals over its frames."""

    def __init__(self, study: ContributionStudy, samples: int = 1000, seed: int = 0) -> None:
        self.study, self.seed, self.samples = study, seed, samples
        count = len(study.pairs)
        drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=samples)
        self._weights = np.concatenate([np.ones((1, count)), drawn.astype(np.float64)])

    def shares(self, sums: Array) -> list[Value | None]:
        """Return the share of each modality in summed contributions (frames, M); None if there are none."""
        sampled = self._sampled(sums)
        if not np.isfinite(sampled[0]).all():
            return [None] * sums.shape[1]
        return [Value.of(sampled[:, index]) for index in range(sums.shape[1])]

    def _sampled(self, sums: Array) -> Array:
        drawn = self._weights @ sums
        totals = drawn.sum(axis=1, keepdims=True)
        found: Array = np.divide(drawn, totals, out=np.full_like(drawn, np.nan), where=totals > 0)
        return found

    def by_part(self) -> dict[str, list[Value | None]]:
        """Return the shares in all clean detections, and in those of each class and each group."""
        study = self.study
        parts = {"all": self.shares(study.sums(CLEAN.name))}
        for label, name in enumerate(study.class_names):
            parts[name] = self.shares(study.sums(CLEAN.name, label))
        for group in sorted({frame.group for frame in study.frames[CLEAN.name]} - {""}):
            whole = study.sums(CLEAN.name)
            inside = np.array([frame.group == group for frame in study.frames[CLEAN.name]])
            parts[group] = self.shares(whole * inside[:, None])
        return parts

    def steps(self, factor: Factor) -> list[Step]:
        """Return the share of the modality that ``factor`` degrades, at each level at which there are detections."""
        study, found = self.study, []
        column = study.modalities.index(factor.modality)
        clean = self._sampled(study.sums(CLEAN.name))[:, column]
        clean_gates = self._gates(CLEAN.name, column)
        for level, name in study.steps(factor):
            sampled, gates = self._sampled(study.sums(name))[:, column], self._gates(name, column)
            if not math.isfinite(sampled[0]) or not math.isfinite(clean[0]):
                continue
            number = sum(len(frame.detections) for frame in study.frames[name])
            gate_change = None if gates is None or clean_gates is None else Value.of(gates - clean_gates)
            gate_share = None if gates is None else Value.of(gates)
            found.append(Step(level, number, Value.of(sampled), Value.of(sampled - clean), gate_share, gate_change))
        return found

    def _gates(self, condition: str, column: int) -> Array | None:
        rows = self.study.gate_rows(condition)
        if rows is None:
            return None
        return np.asarray((self._weights @ rows[:, column]) / self._weights.sum(axis=1))

    def agreement(self) -> Agreement | None:
        """Return how the gates agree with the occlusion over the clean detections.

        None without gates, with fewer than three detections, or if one of the two shares is the same in all of them.
        """
        if self.study.no_gates is not None:
            return None
        first, second, owners = self.study.agreement()
        if len(first) < 3:
            return None
        weights = self._weights[:, owners.astype(int)]
        sampled = np.array([_correlation(first, second, row) for row in weights])
        if not np.isfinite(sampled[0]) or not np.isfinite(sampled[1:]).any():
            return None
        generator = np.random.default_rng(self.seed)
        even = np.ones(len(first))
        shuffled = [_correlation(first, generator.permutation(second), even) for _ in range(self.samples)]
        low, high = np.nanquantile(shuffled, [0.025, 0.975])
        return Agreement(Value.of(sampled), float(low), float(high), len(first))


def verdict(factor: Factor, steps: list[Step]) -> str:
    """Return one sentence: how the share of the degraded modality moves from level 0 to the last level."""
    if len(steps) < 2:
        return f"{factor.name}: too few detections."
    change = steps[-1].change
    falls = sum(second.share.value < first.share.value for first, second in pairwise(steps))
    word = (
        "falls, as expected" if change.high < 0 else "rises, against expectation" if change.low > 0 else "is undecided"
    )
    return (
        f"{factor.name}: the share of {factor.modality} {word}: {100 * steps[0].share.value:.0f} % to "
        f"{100 * steps[-1].share.value:.0f} %, change {100 * change.value:+.0f} ({100 * change.low:+.0f} to "
        f"{100 * change.high:+.0f}) points; it falls at {falls} of {len(steps) - 1} steps."
    )


def _correlation(x: Array, y: Array, weights: Array) -> float:
    """Return Pearson's correlation with weights; NaN if one of the two is constant."""
    total = weights.sum()
    if total <= 0:
        return math.nan
    x, y = x - (weights @ x) / total, y - (weights @ y) / total
    scale = math.sqrt(float(weights @ (x * x)) * float(weights @ (y * y)))
    return float(weights @ (x * y)) / scale if scale > 0 else math.nan
