# SPDX-License-Identifier: Apache-2.0
"""Place images on the network's canvas and map boxes back. Trainer and predictor both use this module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

STRIDE = 32
PADDING_LEVEL = 114

Size = tuple[int, int]


def size_of(image: npt.NDArray[Any]) -> Size:
    """Return (width, height) of an image array, pixels."""
    return image.shape[1], image.shape[0]


@dataclass(frozen=True)
class Letterbox:
    """The position of an image of ``image_size`` on a canvas of ``canvas_size``.

    The image is as large as fits, keeps its aspect ratio and is centred. Sizes are (width, height) in pixels.
    Coordinates are continuous: pixel i covers [i, i + 1). ``inner_size`` is the size of the image on the canvas, and
    ``offset`` is its upper left corner. The rest of the canvas is padding. Raises ``ValueError`` for an empty image or
    a canvas that is not divisible by 32.
    """

    image_size: Size
    canvas_size: Size

    def __post_init__(self) -> None:
        if min(self.image_size) <= 0:
            raise ValueError(f"image is {self.image_size[0]}x{self.image_size[1]}: expected at least one pixel")
        if min(self.canvas_size) <= 0 or self.canvas_size[0] % STRIDE or self.canvas_size[1] % STRIDE:
            raise ValueError(f"canvas is {self.canvas_size[0]}x{self.canvas_size[1]}: expected multiples of {STRIDE}")

    @property
    def inner_size(self) -> Size:
        """Width and height of the image on the canvas, in whole pixels."""
        (width, height), (canvas_width, canvas_height) = self.image_size, self.canvas_size
        scale = min(canvas_width / width, canvas_height / height)
        return (
            min(canvas_width, max(1, round(width * scale))),
            min(canvas_height, max(1, round(height * scale))),
        )

    @property
    def offset(self) -> Size:
        """Left and upper padding, in pixels."""
        inner_width, inner_height = self.inner_size
        return (self.canvas_size[0] - inner_width) // 2, (self.canvas_size[1] - inner_height) // 2

    @property
    def scale(self) -> tuple[float, float]:
        """Canvas pixels per image pixel, horizontally and vertically. They differ only by rounding."""
        inner_width, inner_height = self.inner_size
        return inner_width / self.image_size[0], inner_height / self.image_size[1]

    def canvas_from_normalised(self) -> npt.NDArray[np.float64]:
        """Return the 3x3 matrix from normalised image coordinates to canvas coordinates."""
        (inner_width, inner_height), (left, top) = self.inner_size, self.offset
        return np.array([[inner_width, 0.0, left], [0.0, inner_height, top], [0.0, 0.0, 1.0]])

    def place(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return the canvas (H, W) or (H, W, C) with ``image``, of any resolution, stretched to ``inner_size``."""
        (left, top), (width, height) = self.offset, self.inner_size
        canvas = np.empty((self.canvas_size[1], self.canvas_size[0], *image.shape[2:]), np.uint8)
        if (width, height) != self.canvas_size:
            canvas[:top] = canvas[top + height :] = PADDING_LEVEL
            canvas[:, :left] = canvas[:, left + width :] = PADDING_LEVEL
        inner = canvas[top : top + height, left : left + width]
        if size_of(image) == (width, height):
            inner[...] = image
        else:
            # Average for a strong reduction: otherwise small objects can vanish between the samples.
            reduces = image.shape[1] >= 2 * width or image.shape[0] >= 2 * height
            inner[...] = cv2.resize(
                image, (width, height), interpolation=cv2.INTER_AREA if reduces else cv2.INTER_LINEAR
            )
        return canvas

    def boxes_to_canvas(self, boxes: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return image boxes (n, 4) x1 y1 x2 y2 in canvas pixels."""
        scale, offset = np.array(self.scale * 2), np.array(self.offset * 2)
        canvas_boxes: npt.NDArray[np.float32] = (np.asarray(boxes, np.float64) * scale + offset).astype(np.float32)
        return canvas_boxes

    def boxes_to_image(self, boxes: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return canvas boxes (n, 4) x1 y1 x2 y2 in image pixels, clipped to the image."""
        scale, offset = np.array(self.scale * 2), np.array(self.offset * 2)
        width, height = self.image_size
        image_boxes = (np.asarray(boxes, np.float64) - offset) / scale
        clipped: npt.NDArray[np.float32] = np.clip(image_boxes, 0.0, (width, height, width, height)).astype(np.float32)
        return clipped
