# SPDX-License-Identifier: Apache-2.0
"""Draw a pair side by side with its boxes on both pictures."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from ..perception.thermal_scaling import ThermalScaling
from .prepared_dataset import DEFAULT_SCALING, prepare
from .sample import PairedSample

# Okabe and Ito's palette, distinct for colour-blind people too, and bright enough for a dark picture.
CLASS_COLORS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 200, 130),
    (240, 228, 66),
    (213, 94, 0),
    (204, 121, 167),
    (90, 140, 255),
)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_CAPTION_PX = 22


def draw_pair(
    sample: PairedSample,
    class_names: Sequence[str],
    *,
    caption: str | None = None,
    scaling: ThermalScaling = DEFAULT_SCALING,
    picture_width_px: int = 640,
) -> npt.NDArray[np.uint8]:
    """Return RGB and thermal beside each other, (H, W, 3) uint8 RGB, with the boxes and class names on both.

    ``caption`` stands above; the sample's name and group if None. A missing picture is dark grey.
    """
    ready = prepare(sample, scaling)
    width, height = ready.size
    zoom = picture_width_px / width
    size = (picture_width_px, round(height * zoom))
    pictures = []
    for image in (ready.rgb, ready.thermal):
        if image is None:
            image = np.full((height, width, 3), 40, np.uint8)
        if image.ndim == 2:
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
        picture = cv2.resize(image, size, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR)
        for box, label in zip(ready.boxes * zoom, ready.labels, strict=True):
            draw_box(picture, box, CLASS_COLORS[label % len(CLASS_COLORS)], class_names[label])
        pictures.append(picture)
    if caption is None:
        caption = f"{sample.name}   {sample.group}   {len(sample.labels)} boxes"
    return with_caption(np.hstack(pictures), caption)


def draw_box(
    picture: npt.NDArray[np.uint8],
    box: npt.NDArray[np.float32],
    color: tuple[int, int, int],
    text: str = "",
    *,
    thickness_px: int = 1,
) -> None:
    """Draw one box x1 y1 x2 y2 into ``picture``, its ``text`` above it, or inside where there is no room above."""
    left, top, right, bottom = (int(value) for value in np.round(box))
    cv2.rectangle(picture, (left, top), (right, bottom), color, thickness_px, cv2.LINE_AA)
    if text:
        (text_width, text_height), _ = cv2.getTextSize(text, _FONT, 0.38, 1)
        base = top - 3 if top - text_height - 4 >= 0 else top + text_height + 3
        left = min(max(left, 0), picture.shape[1] - text_width)
        cv2.putText(picture, text, (left, base), _FONT, 0.38, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(picture, text, (left, base), _FONT, 0.38, color, 1, cv2.LINE_AA)


def with_caption(picture: npt.NDArray[np.uint8], caption: str) -> npt.NDArray[np.uint8]:
    """Return ``picture`` with one line of text above it."""
    bar = np.full((_CAPTION_PX, picture.shape[1], 3), 24, np.uint8)
    cv2.putText(bar, caption, (6, _CAPTION_PX - 7), _FONT, 0.45, (235, 235, 235), 1, cv2.LINE_AA)
    return np.vstack([bar, picture])
