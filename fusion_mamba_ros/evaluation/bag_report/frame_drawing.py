# SPDX-License-Identifier: Apache-2.0
"""Draw the frames that a report shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.datasets.sample import Sample
from fusion_mamba_ros.datasets.sample_drawing import DrawnBox, draw_side_by_side
from fusion_mamba_ros.evaluation.bag_evaluation.scored_frame import ScoredFrame
from fusion_mamba_ros.evaluation.bag_report.frame_images import FrameImages
from fusion_mamba_ros.evaluation.bag_report.frame_view import FrameView
from fusion_mamba_ros.evaluation.box_matching import match_image
from fusion_mamba_ros.evaluation.detection_results import ImageResult
from fusion_mamba_ros.evaluation.worst_frames import JudgedFrame, draw_frame
from fusion_mamba_ros.perception.drawing import PALETTE
from fusion_mamba_ros.perception.image_writer import encode_image
from fusion_mamba_ros.perception.registration import is_identity

WORST_FRAMES_FOLDER, CAPTIONS_FILE = "worst_frames", "worst_frames/captions.json"
_THUMBNAIL_WIDTH = 160
_FRAME_WIDTH = 480


@dataclass(frozen=True)
class DrawnFrame:
    """A drawn frame: JPEG file, time since the first frame of the drive, and the figures that it is sorted by."""

    jpeg: bytes
    seconds: float
    stamp_ns: int
    mode: str
    misses: int = 0
    false_alarms: int = 0
    worst_iou: float | None = None

    @property
    def errors(self) -> int:
        """Misses and false alarms."""
        return self.misses + self.false_alarms


def drawn_frame(
    frame: ScoredFrame,
    images: FrameImages,
    class_names: Sequence[str],
    *,
    start_ns: int,
    view: FrameView,
) -> DrawnFrame:
    """Return the frame with its boxes on every image: found green, missed red, false alarms orange.

    Without ground truth each class has its own colour.
    """
    return _as_drawn(frame, _draw(frame, images, class_names, view), start_ns)


def thumbnail(
    frame: ScoredFrame, images: FrameImages, class_names: Sequence[str], *, start_ns: int, view: FrameView
) -> DrawnFrame:
    """Return a small copy of the RGB image, or of the thermal image without one."""
    image = _draw(frame, {camera: images[camera] for camera in sorted(images)[:1]}, class_names, view)
    height = max(1, round(image.shape[0] * _THUMBNAIL_WIDTH / image.shape[1]))
    small = cv2.resize(image, (_THUMBNAIL_WIDTH, height), interpolation=cv2.INTER_AREA)
    return _as_drawn(frame, np.asarray(small, np.uint8), start_ns)


def worst_frame_files(shown: Sequence[DrawnFrame]) -> dict[str, bytes]:
    """Return the files of the worst frames by name, with their captions."""
    files: dict[str, bytes] = {}
    captions: list[dict[str, Any]] = []
    for rank, item in enumerate(shown, 1):
        name = f"{WORST_FRAMES_FOLDER}/{rank:02d}_{item.stamp_ns}.jpg"
        files[name] = item.jpeg
        captions.append({"file": name, **{key: value for key, value in asdict(item).items() if key != "jpeg"}})
    files[CAPTIONS_FILE] = (json.dumps(captions, indent=1) + "\n").encode()
    return files


def _as_drawn(frame: ScoredFrame, image: npt.NDArray[np.uint8], start_ns: int) -> DrawnFrame:
    record = frame.record
    return DrawnFrame(
        encode_image(image, ".jpg", jpeg_quality=80),
        round((record.stamp_ns - start_ns) * 1e-9, 3),
        record.stamp_ns,
        record.mode or "unknown",
        frame.misses,
        frame.false_alarms,
        record.worst_iou,
    )


def _draw(
    frame: ScoredFrame, images: FrameImages, class_names: Sequence[str], view: FrameView
) -> npt.NDArray[np.uint8]:
    homography = view.homography
    warps = len(images) > 1 and homography is not None and not is_identity(homography)
    homographies = {"thermal": homography} if warps and homography is not None else {}
    sample = Sample(str(frame.record.stamp_ns), view.in_box_pixels(frame, images), homographies=homographies)
    found = frame.detections
    if frame.true_boxes is None or frame.true_labels is None:
        boxes = [
            DrawnBox(box, PALETTE[label % len(PALETTE)], f"{class_names[label]} {score:.2f}")
            for box, label, score in zip(found.boxes, found.labels.tolist(), found.scores.tolist(), strict=True)
        ]
        return draw_side_by_side(sample, boxes, f"{len(found)} detections", image_width_px=_FRAME_WIDTH)
    result = ImageResult(str(frame.record.stamp_ns), frame.true_boxes, frame.true_labels, found)
    judged = JudgedFrame(0, result, match_image(result, 0.0))
    return draw_frame(sample, judged, class_names, image_width_px=_FRAME_WIDTH)
