# SPDX-License-Identifier: Apache-2.0
"""Draw the images of a sample side by side, each with the boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.datasets.prepared_dataset import DEFAULT_SCALING, prepare
from fusion_mamba_ros.datasets.sample import Sample
from fusion_mamba_ros.perception.drawing import PALETTE
from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_TEXT_SCALE = 0.38
_CAPTION_PX = 22


@dataclass(frozen=True)
class DrawnBox:
    """A box x1 y1 x2 y2 in pixels, its colour (RGB) and its text."""

    box: npt.NDArray[np.float32]
    colour: tuple[int, int, int]
    text: str = ""


def draw_pair(sample: Sample, class_names: Sequence[str], *, image_width_px: int = 640) -> npt.NDArray[np.uint8]:
    """Return the images side by side, (H, W, 3) uint8 RGB, each with the labelled boxes and class names."""
    boxes = [
        DrawnBox(box, PALETTE[label % len(PALETTE)], class_names[label])
        for box, label in zip(sample.boxes, sample.labels, strict=True)
    ]
    caption = f"{sample.name}   {sample.group}   {len(sample.labels)} boxes"
    return draw_side_by_side(sample, boxes, caption, image_width_px=image_width_px)


def draw_side_by_side(
    sample: Sample,
    boxes: Sequence[DrawnBox],
    caption: str,
    *,
    scaling: ThermalScaling = DEFAULT_SCALING,
    image_width_px: int = 640,
) -> npt.NDArray[np.uint8]:
    """Return the images side by side, (H, W, 3) uint8 RGB, each with the same boxes, and the caption above.

    The boxes are in pixels of the sample's reference image.
    """
    ready = prepare(sample, scaling)
    width, height = ready.size
    zoom = image_width_px / width
    scaled = [replace(item, box=item.box * zoom) for item in boxes]
    images = []
    for image in ready.images.values():
        if image.ndim == 2:
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
        interpolation = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
        image = cv2.resize(image, (image_width_px, round(height * zoom)), interpolation=interpolation)
        draw_boxes(image, scaled)
        images.append(image)
    return _with_caption(np.hstack(images), caption)


def draw_boxes(image: npt.NDArray[np.uint8], boxes: Sequence[DrawnBox]) -> None:
    """Draw boxes into ``image``. Earlier boxes cover later boxes.

    A text is drawn above its box, or below it if it would cover an earlier text. If both places are taken, the text is
    left out, so that crowded images stay readable.
    """
    for item in reversed(boxes):
        left, top, right, bottom = (int(value) for value in np.round(item.box))
        cv2.rectangle(image, (left, top), (right, bottom), item.colour, 1, cv2.LINE_AA)
    taken: list[tuple[int, int, int, int]] = []
    for item in boxes:
        text = _ascii(item.text)
        (width, height), _ = cv2.getTextSize(text, _FONT, _TEXT_SCALE, 1)
        left = min(max(int(item.box[0]), 0), image.shape[1] - width)
        for base in (int(item.box[1]) - 3, int(item.box[3]) + height + 3):
            place = (left, base - height, left + width, base + 2)
            free = all(place[0] >= x2 or place[2] <= x1 or place[1] >= y2 or place[3] <= y1 for x1, y1, x2, y2 in taken)
            if free and place[1] >= 0 and place[3] <= image.shape[0]:
                cv2.putText(image, text, (left, base), _FONT, _TEXT_SCALE, (0, 0, 0), 3, cv2.LINE_AA)
                cv2.putText(image, text, (left, base), _FONT, _TEXT_SCALE, item.colour, 1, cv2.LINE_AA)
                taken.append(place)
                break


def _with_caption(image: npt.NDArray[np.uint8], caption: str) -> npt.NDArray[np.uint8]:
    """Return ``image`` with one line of text above it."""
    bar = np.full((_CAPTION_PX, image.shape[1], 3), 24, np.uint8)
    cv2.putText(bar, _ascii(caption), (6, _CAPTION_PX - 7), _FONT, 0.45, (235, 235, 235), 1, cv2.LINE_AA)
    return np.vstack([bar, image])


def _ascii(text: str) -> str:
    # The font of OpenCV only has ASCII characters. A text that is not UTF-8 would abort the process.
    return text.encode("ascii", "replace").decode()
