# SPDX-License-Identifier: Apache-2.0
"""Export the frames of an evaluated bag with `FiftyOneExport`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fusion_mamba_ros.evaluation.bag_evaluation.evaluate_bag import BagEvaluation
from fusion_mamba_ros.evaluation.bag_evaluation.scored_frame import ScoredFrame
from fusion_mamba_ros.evaluation.bag_report.frame_images import read_frame_images
from fusion_mamba_ros.evaluation.bag_report.frame_view import FrameView
from fusion_mamba_ros.evaluation.fiftyone_export import FiftyOneExport


def export_frames(folder: Path, evaluation: BagEvaluation, frames: Sequence[ScoredFrame]) -> int:
    """Write the RGB image, or the thermal image alone, of each frame with its boxes. Return the number of images.

    The images are read from the bag in a second pass; frames whose image cannot be decoded are left out.
    """
    report = evaluation.report
    view = FrameView.of(evaluation)
    topics = {camera: section["topic"] for camera, section in report["cameras"].items()}
    writer = FiftyOneExport(folder, report["subject"]["class_names"])
    count = 0
    for frame, images in read_frame_images(Path(report["bag"]["path"]), topics, frames):
        boxed = view.in_box_pixels(frame, images)
        writer.add(
            boxed["rgb"] if "rgb" in boxed else boxed["thermal"],
            frame.detections,
            stamp_ns=frame.record.stamp_ns,
            mode=frame.record.mode,
            true_boxes=frame.true_boxes,
            true_labels=frame.true_labels,
        )
        count += 1
    writer.close()
    return count
