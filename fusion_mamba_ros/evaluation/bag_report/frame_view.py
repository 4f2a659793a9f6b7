# SPDX-License-Identifier: Apache-2.0
"""Bring the images of a frame into the pixels of its boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fusion_mamba_ros.datasets.prepared_dataset import DEFAULT_SCALING
from fusion_mamba_ros.evaluation.bag_evaluation.evaluate_bag import BagEvaluation
from fusion_mamba_ros.evaluation.bag_evaluation.scored_frame import ScoredFrame
from fusion_mamba_ros.evaluation.bag_report.frame_images import FrameImages
from fusion_mamba_ros.perception.modality import modality_named
from fusion_mamba_ros.perception.registration import Homography, warp_to_rgb_view


@dataclass(frozen=True, eq=False)
class FrameView:
    """The view of the RGB camera: ``image_size`` (width, height) and the ``homography`` from thermal to it.

    Boxes are in its pixels from the stamp ``first_rgb_ns`` on, and in those of the thermal image before.
    """

    image_size: tuple[int, int] | None = None
    homography: Homography | None = None
    first_rgb_ns: int | None = None

    @classmethod
    def of(cls, evaluation: BagEvaluation) -> FrameView:
        """Return the view of an evaluated bag."""
        stamps = [record.rgb_stamp_ns for record in evaluation.records if record.rgb_stamp_ns is not None]
        return cls(evaluation.image_size, evaluation.homography, min(stamps, default=None))

    def in_box_pixels(self, frame: ScoredFrame, images: FrameImages) -> FrameImages:
        """Return the images; a thermal image alone is scaled to 8 bits and warped to the view of the RGB camera."""
        if "rgb" in images or self.image_size is None or self.first_rgb_ns is None:
            return images
        if frame.record.stamp_ns < self.first_rgb_ns:
            return images
        levels = modality_named("thermal").levels(images["thermal"], DEFAULT_SCALING)
        homography = np.eye(3) if self.homography is None else self.homography
        return {"thermal": warp_to_rgb_view(levels, homography, self.image_size)}
