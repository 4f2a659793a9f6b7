# SPDX-License-Identifier: Apache-2.0
"""The result of one inference."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.perception.mode import Mode

__all__ = ["Detections", "Mode"]


@dataclass(frozen=True)
class Detections:
    """Boxes of one image pair, best first.

    ``boxes`` (n, 4) float32 are x1 y1 x2 y2 in pixels of the original reference image. ``scores`` (n,) float32 are in
    [0, 1], descending. ``labels`` (n,) int64 are indices into the checkpoint's class names. ``mode`` names the
    modalities that were used. ``track_ids`` (n,) int64 are the ids of the boxes' tracks, 0 for a box without a
    track; None if boxes are not tracked. Raises ``ValueError`` if the lengths differ.
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    mode: Mode = Mode.FUSED
    track_ids: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if self.boxes.shape != (len(self.scores), 4) or len(self.labels) != len(self.scores):
            raise ValueError(
                f"detections disagree in length: boxes {self.boxes.shape}, scores {self.scores.shape}, "
                f"labels {self.labels.shape}: expected (n, 4), (n,), (n,)"
            )

        if self.track_ids is not None and len(self.track_ids) != len(self.scores):
            raise ValueError(f"{len(self.track_ids)} track ids for {len(self.scores)} detections: give one for each")

    def __len__(self) -> int:
        return len(self.scores)

    def tracked(self, track_ids: npt.NDArray[np.int64], score_threshold: float) -> Detections:
        """Return the detections of at least ``score_threshold`` with their ids; ``track_ids`` has one for each box."""
        return replace(self, track_ids=track_ids).kept(self.scores >= np.float32(score_threshold))

    def kept(self, mask: npt.NDArray[np.bool_], *, boxes: npt.NDArray[Any] | None = None) -> Detections:
        """Return the detections where ``mask`` (n,) is true, with ``boxes`` (n, 4) in place of their own if given."""
        moved = self.boxes if boxes is None else boxes
        return replace(
            self,
            boxes=moved[mask].astype(np.float32, copy=False),
            scores=self.scores[mask],
            labels=self.labels[mask],
            track_ids=None if self.track_ids is None else self.track_ids[mask],
        )
