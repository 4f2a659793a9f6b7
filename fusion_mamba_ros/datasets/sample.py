# SPDX-License-Identifier: Apache-2.0
"""One labelled RGB-thermal pair, the type that every dataset gives and every augmentation takes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..perception.registration import Homography


def _no_boxes() -> npt.NDArray[np.float32]:
    return np.zeros((0, 4), np.float32)


def _no_labels() -> npt.NDArray[np.int64]:
    return np.zeros(0, np.int64)


@dataclass(frozen=True)
class PairedSample:
    """A pair of pictures with the boxes of what can be seen in either.

    ``name`` is unique in its dataset; ``group`` (for example ``day``, ``night``) may be empty; ``rgb`` (H, W, 3) uint8
    RGB or None; ``thermal`` (H', W') uint8 or uint16, or None; ``boxes`` (n, 4) float32 x1 y1 x2 y2 in pixels of RGB
    (of thermal if there is no RGB); ``labels`` (n,) int64, indices into the dataset's ``class_names``. No boxes at all
    is a true negative. ``homography`` brings thermal to RGB in normalised coordinates; None: they are aligned.
    Raises ``ValueError`` if both pictures are missing or the lengths disagree.
    """

    name: str
    rgb: npt.NDArray[np.uint8] | None
    thermal: npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | None
    boxes: npt.NDArray[np.float32] = field(default_factory=_no_boxes)
    labels: npt.NDArray[np.int64] = field(default_factory=_no_labels)
    group: str = ""
    homography: Homography | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.rgb is None and self.thermal is None:
            raise ValueError(f"sample {self.name!r} has neither an RGB nor a thermal picture")
        if self.boxes.shape != (len(self.labels), 4):
            raise ValueError(
                f"sample {self.name!r}: boxes {self.boxes.shape} and labels {self.labels.shape} disagree: "
                "expected (n, 4) and (n,)"
            )

    @property
    def size(self) -> tuple[int, int]:
        """Return (width, height) of the reference picture in pixels: RGB, or thermal if there is no RGB."""
        reference = self.rgb if self.rgb is not None else self.thermal
        assert reference is not None  # held by __post_init__
        return reference.shape[1], reference.shape[0]
