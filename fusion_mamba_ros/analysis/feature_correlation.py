# SPDX-License-Identifier: Apache-2.0
"""Measure how alike two sets of features are: linear CKA and the correlation of equal channels, from running sums."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Variance of a constant channel, relative to its mean square, that running sums in float64 may show.
_ROUNDING = 1e-10


@dataclass
class FeatureSums:
    """Sums over positions of two sets of features, from which means and covariances follow.

    Shapes: ``x``, ``y`` (C,); ``xx``, ``yy``, ``xy`` (C, C); all float64.
    """

    count: int
    x: Tensor
    y: Tensor
    xx: Tensor
    yy: Tensor
    xy: Tensor

    @classmethod
    def of(cls, x: Tensor, y: Tensor) -> FeatureSums:
        """Return the sums of features (n, C) of the same n positions."""
        x, y = x.double(), y.double()
        return cls(len(x), x.sum(0), y.sum(0), x.T @ x, y.T @ y, x.T @ y)

    def __add__(self, other: FeatureSums) -> FeatureSums:
        return FeatureSums(
            self.count + other.count,
            self.x + other.x,
            self.y + other.y,
            self.xx + other.xx,
            self.yy + other.yy,
            self.xy + other.xy,
        )

    def varying(self) -> Tensor:
        """Return which channels of x and of y vary, (2, C) bool: more than the rounding of float64 can explain."""
        xx, yy, _ = self.covariances()
        small = (
            covariance.diagonal() <= _ROUNDING * moments.diagonal() / self.count
            for covariance, moments in ((xx, self.xx), (yy, self.yy))
        )
        return ~torch.stack(list(small))

    def covariances(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the covariances of x, of y, and between x and y, each (C, C)."""
        mean_x, mean_y = self.x / self.count, self.y / self.count
        return (
            self.xx / self.count - torch.outer(mean_x, mean_x),
            self.yy / self.count - torch.outer(mean_y, mean_y),
            self.xy / self.count - torch.outer(mean_x, mean_y),
        )


def linear_cka(sums: FeatureSums) -> float:
    """Return the linear centred kernel alignment in [0, 1]: ||cov(x, y)||² / (||cov(x)|| ||cov(y)||), Frobenius norms.

    NaN if all channels of x or all channels of y are constant. Source: arXiv 1905.00414, section 3.
    """
    xx, yy, xy = sums.covariances()
    if not bool(sums.varying().any(dim=1).all()):
        return math.nan
    return float(xy.square().sum()) / float(xx.norm() * yy.norm())


def channel_correlation(sums: FeatureSums) -> float:
    """Return the mean over the channels of the correlation of channel c of x with channel c of y.

    Channels that are constant in x or y are left out; NaN if all are.
    """
    xx, yy, xy = sums.covariances()
    scale = (xx.diagonal() * yy.diagonal()).clamp(min=0).sqrt()
    varying = sums.varying().all(dim=0)
    return float((xy.diagonal()[varying] / scale[varying]).mean()) if bool(varying.any()) else math.nan


def jackknife(groups: Sequence[Sequence[FeatureSums]], measure: Callable[..., float]) -> tuple[float, float]:
    """Return ``measure`` of the sums of all groups and its standard error, leaving out one group after the other.

    ``groups``: for each group one `FeatureSums` for each argument of ``measure``. The error is NaN for one group.
    """
    columns = list(zip(*groups, strict=True))
    whole = measure(*(_total(column) for column in columns))
    if len(groups) < 2:
        return whole, math.nan
    values = [
        measure(*(_total([*column[:left_out], *column[left_out + 1 :]]) for column in columns))
        for left_out in range(len(groups))
    ]
    mean = sum(values) / len(values)
    return whole, math.sqrt((len(values) - 1) / len(values) * sum((value - mean) ** 2 for value in values))


def _total(sums: Sequence[FeatureSums]) -> FeatureSums:
    total = sums[0]
    for more in sums[1:]:
        total = total + more
    return total
