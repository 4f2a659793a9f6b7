# SPDX-License-Identifier: Apache-2.0
"""Compare two kinds of detectors that were trained with several seeds: bootstrap over seeds and images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.evaluation.detection_results import DetectionResults
from fusion_mamba_ros.evaluation.paired_bootstrap import MatchTable

CONFIDENCE = 0.95


@dataclass(frozen=True)
class SeedComparison:
    """Mean mAP50 difference ``second - first`` over the seeds, with the interval of the bootstrap samples.

    ``p_value``: twice the smaller share of samples on one side of zero, at least 1 / samples.
    """

    difference: float
    low: float
    high: float
    p_value: float
    seeds: int

    @property
    def verdict(self) -> str:
        """`better` or `worse` if the interval excludes zero, otherwise `undecided`."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "undecided"


class SeedBootstrap:
    """Bootstrap samples of a set of images, the same for all detectors that are compared on them.

    ``images``: names of the images, in the order in which all results have them.
    """

    def __init__(self, images: Sequence[str], samples: int = 1000, seed: int = 0) -> None:
        self.images, self.samples, self.seed = tuple(images), samples, seed
        count = len(self.images)
        drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=samples)
        # The first row is the set itself.
        self._weights = np.concatenate([np.ones((1, count)), drawn.astype(np.float64)])

    def map50(self, results: DetectionResults) -> npt.NDArray[np.float64]:
        """Return mAP50 on the images themselves, then on each bootstrap sample: (1 + samples,).

        Raises ``ValueError`` if the results are those of other images.
        """
        if tuple(image.name for image in results.images) != self.images:
            raise ValueError("the detectors were evaluated on different images: evaluate them on the same data")
        return MatchTable(results).map50(self._weights)

    def compare(
        self, first: Sequence[npt.NDArray[np.float64]], second: Sequence[npt.NDArray[np.float64]]
    ) -> SeedComparison:
        """Return the difference of two kinds of detectors; seed i of both is a pair, and pairs are drawn together.

        ``first``, ``second``: the results of ``map50`` for each seed. Raises ``ValueError`` without a true box.
        """
        differences = np.stack(second) - np.stack(first)
        seeds = len(differences)
        drawn = np.random.default_rng(self.seed + 1).integers(0, seeds, size=(self.samples, seeds))
        sampled = differences[drawn, np.arange(1, self.samples + 1)[:, None]].mean(axis=1)
        sampled = sampled[np.isfinite(sampled)]
        if not len(sampled):
            raise ValueError("there is no true box in the images: nothing to compare")
        tail = (1 - CONFIDENCE) / 2
        low, high = np.quantile(sampled, [tail, 1 - tail])
        below, above = (sampled <= 0).mean(), (sampled >= 0).mean()
        p_value = min(1.0, max(2 * min(below, above), 1 / len(sampled)))
        return SeedComparison(float(differences[:, 0].mean()), float(low), float(high), float(p_value), seeds)
