# SPDX-License-Identifier: Apache-2.0
"""The pairs of each epoch, for data whose sources have a ratio."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.datasets.source_traits import SourceTraits
from fusion_mamba_ros.training.recipe import TrainingError

# The first number of the seeds of this module, so that they differ from those of order and augmentation.
_STREAM = 0x5E1EC7


class EpochSelection:
    """Choose the pairs of each epoch: all pairs of the sources without a ratio, and a part of each other source.

    A source with ratio r gives r times as many pairs as the sources without a ratio have together, at least one. The
    source is passed through in random order, and again in another order when it is used up. So all of its pairs are
    drawn equally often, up to one. The choice depends on the seed and the epoch only.
    """

    def __init__(self, sources: Sequence[SourceTraits], seed: int) -> None:
        """Read the sources of all pairs. Raises `TrainingError` if all of them have a ratio."""
        self.seed = seed
        members: dict[SourceTraits, list[int]] = {}
        for index, source in enumerate(sources):
            members.setdefault(source, []).append(index)
        self.always = [index for source, rows in members.items() if source.ratio is None for index in rows]
        self.drawn = {source: np.array(rows) for source, rows in members.items() if source.ratio is not None}
        if not self.always:
            names = ", ".join(source.name for source in self.drawn)
            raise TrainingError(
                f"all training pairs come from sources with a ratio ({names}): leave ratio out of the source that the "
                "others refer to"
            )

    @classmethod
    def of(cls, sources: Sequence[SourceTraits], seed: int) -> EpochSelection | None:
        """Return the selection for the sources of all pairs, or None if no source has a ratio."""
        return cls(sources, seed) if any(source.ratio is not None for source in sources) else None

    @property
    def ratios(self) -> dict[str, float]:
        """The ratio of each source that has one."""
        return {source.name: source.ratio for source in self.drawn if source.ratio is not None}

    def count(self, source: SourceTraits) -> int:
        """Return how many pairs of a source are in each epoch."""
        assert source.ratio is not None
        return max(1, round(source.ratio * len(self.always)))

    def indices(self, epoch: int) -> npt.NDArray[np.int64]:
        """Return the indices of the pairs of ``epoch``, counted from 0. An index may occur several times."""
        parts = [np.array(self.always)]
        for number, (source, members) in enumerate(self.drawn.items()):
            count = self.count(source)
            positions = np.arange(epoch * count, (epoch + 1) * count)
            for turn in np.unique(positions // len(members)):
                order = np.random.default_rng((_STREAM, self.seed, number, int(turn))).permutation(members)
                parts.append(order[positions[positions // len(members) == turn] % len(members)])
        return np.concatenate(parts)
