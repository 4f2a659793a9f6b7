# SPDX-License-Identifier: Apache-2.0
"""What the pairs of one dataset folder have in common in training."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class SourceTraits:
    """Name, ratio and labelled classes of the folder or scene that a pair comes from.

    ``ratio``: number of pairs that training draws from this source in each epoch, relative to the pairs of the sources
    without a ratio. None: every pair once in each epoch.
    ``labelled``: classes that are labelled in this source. None: all classes of the dataset. Objects of another class
    may be visible without a box, so they do not count as background in training.
    """

    name: str = ""
    ratio: float | None = None
    labelled: frozenset[str] | None = None

    def labelled_mask(self, class_names: Sequence[str]) -> npt.NDArray[np.bool_] | None:
        """Return for each class whether it is labelled in this source, or None if all are."""
        if self.labelled is None or self.labelled.issuperset(class_names):
            return None
        return np.array([name in self.labelled for name in class_names])


def traits_of(
    name: str, ratio: float | None, own_classes: Collection[str], found: Collection[str], class_names: Sequence[str]
) -> SourceTraits:
    """Return the traits of a folder whose own class list is ``own_classes`` and whose boxes have the classes ``found``.

    Both name classes of the joined dataset, ``class_names``, or others.
    """
    labelled = frozenset((*own_classes, *found)) & frozenset(class_names)
    return SourceTraits(name, ratio, None if len(labelled) == len(class_names) else labelled)
