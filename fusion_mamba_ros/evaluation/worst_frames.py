# SPDX-License-Identifier: Apache-2.0
"""Find and draw the image pairs with the most detection errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusion_mamba_ros.datasets.sample import Sample
from fusion_mamba_ros.datasets.sample_drawing import draw_side_by_side
from fusion_mamba_ros.evaluation.box_matching import ImageMatches, match_image
from fusion_mamba_ros.evaluation.detection_results import DetectionResults, ImageResult
from fusion_mamba_ros.perception.drawing import DrawnBox, Image

FOUND_COLOUR, MISSED_COLOUR, FALSE_COLOUR = (60, 200, 90), (255, 60, 60), (255, 170, 0)


@dataclass(frozen=True)
class JudgedFrame:
    """One image pair of the results: its ``index``, its ``result`` and its ``matches`` (found, missed, false)."""

    index: int
    result: ImageResult
    matches: ImageMatches

    @property
    def caption(self) -> str:
        """Name, group and counts as one line of text."""
        misses, false_alarms = len(self.matches.misses), len(self.matches.false_alarms)
        name = f"{self.result.name} ({self.result.group})" if self.result.group else self.result.name
        return f"{name}: {len(self.matches.pairs)} found, {misses} missed, {false_alarms} false"


def worst_frames(results: DetectionResults, score_threshold: float, count: int = 12) -> list[JudgedFrame]:
    """Return up to ``count`` frames with the most misses and false alarms at ``score_threshold``, worst first.

    Frames without an error are not in the list.
    """
    frames = [JudgedFrame(i, image, match_image(image, score_threshold)) for i, image in enumerate(results.images)]
    wrong = [frame for frame in frames if len(frame.matches.misses) + len(frame.matches.false_alarms)]
    # Among frames with equal error counts, more misses rank first: a missed person is worse than a false alarm.
    wrong.sort(
        key=lambda frame: (
            len(frame.matches.misses) + len(frame.matches.false_alarms),
            len(frame.matches.misses),
        ),
        reverse=True,
    )
    return wrong[:count]


def draw_frame(sample: Sample, frame: JudgedFrame, class_names: Sequence[str], *, image_width_px: int = 560) -> Image:
    """Return the images side by side (H, W, 3): found boxes green with score, missed red, false alarms orange."""
    return draw_side_by_side(sample, _boxes(frame, class_names), frame.caption, image_width_px=image_width_px)


def _boxes(frame: JudgedFrame, class_names: Sequence[str]) -> list[DrawnBox]:
    truth, detections = frame.result.truth_labels, frame.result.detections
    missed = [
        DrawnBox(frame.result.truth_boxes[index], MISSED_COLOUR, class_names[truth[index]])
        for index in frame.matches.misses
    ]
    reported = [
        DrawnBox(detections.boxes[i], colour, f"{class_names[detections.labels[i]]} {detections.scores[i]:.2f}")
        for indices, colour in ((frame.matches.false_alarms, FALSE_COLOUR), (frame.matches.pairs[:, 1], FOUND_COLOUR))
        for i in indices
    ]
    return missed + reported
