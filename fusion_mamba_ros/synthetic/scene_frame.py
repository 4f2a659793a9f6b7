# SPDX-License-Identifier: Apache-2.0
"""One rendered moment of a procedural scene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class SceneFrame:
    """Images of one moment by modality, with the true boxes.

    ``images``: ``rgb`` (H, W, 3) uint8; ``thermal`` (H', W') uint8 or uint16; ``depth`` (H, W) uint16 in millimetres.
    ``boxes`` (n, 4) float32 x1 y1 x2 y2 in pixels of RGB, also where RGB is not rendered; ``labels`` (n,) int64,
    indices into ``procedural_scene.CLASS_NAMES``; ``identities`` (n,) int64, the same number for the same object in all
    frames of a scene. A vehicle that leaves the street and enters it again is a new object. ``group`` is ``day`` or
    ``night``.
    """

    name: str
    group: str
    images: dict[str, npt.NDArray[Any]]
    boxes: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    identities: npt.NDArray[np.int64]
