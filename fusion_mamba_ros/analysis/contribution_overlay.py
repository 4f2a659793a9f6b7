# SPDX-License-Identifier: Apache-2.0
"""Draw the share of each modality in each detection on the images of a pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.analysis.modality import FrameContributions
from fusion_mamba_ros.perception.drawing import PALETTE, banner, draw_boxes
from fusion_mamba_ros.perception.modality import modality_named
from fusion_mamba_ros.perception.occlusion import frame_shares, shares

Image = npt.NDArray[np.uint8]
_BAR_PX = 6
# Modality m has this colour in the bars: blue, orange and so on.
_COLOURS = (PALETTE[1], PALETTE[0], *PALETTE[2:])


def draw_contributions(
    images: Mapping[str, Image], frame: FrameContributions, class_names: Sequence[str], modalities: Sequence[str]
) -> Image:
    """Return the prepared images side by side, RGB uint8, with boxes, and below each box a bar of the shares.

    A bar is divided between the modalities from left to right, each in its colour. The banner names the shares of the
    whole frame.
    """
    panels = []
    for name in modalities:
        if name not in images:
            continue
        image = images[name]
        colour = image if image.ndim == 3 else np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), np.uint8)
        panel = draw_boxes(colour, frame.detections, class_names)
        for box, row in zip(frame.detections.boxes, shares(frame.contributions), strict=True):
            _draw_bar(panel, box, row)
        panels.append(panel)
    row = np.concatenate(panels, axis=1)
    whole = frame_shares(frame.contributions)
    caption = "no detection"
    if whole is not None:
        titles = (modality_named(name).title for name in modalities)
        caption = ", ".join(f"{title} {100 * share:.0f} %" for title, share in zip(titles, whole, strict=True))
    return np.concatenate([banner(row.shape[1], frame.detections, caption), row])


def _draw_bar(panel: Image, box: npt.NDArray[np.float32], row: npt.NDArray[np.float64]) -> None:
    left, right = (int(np.clip(round(float(x)), 0, panel.shape[1])) for x in (box[0], box[2]))
    top = int(np.clip(round(float(box[3])), 0, panel.shape[0] - _BAR_PX))
    edges = left + np.rint(np.concatenate([[0.0], np.cumsum(row)]) * (right - left)).astype(int)
    for colour, first, last in zip(_COLOURS, edges, edges[1:], strict=False):
        panel[top : top + _BAR_PX, first:last] = colour
