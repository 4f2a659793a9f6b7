# SPDX-License-Identifier: Apache-2.0
"""Arrange several images in one grid."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from fusion_mamba_ros.perception.drawing.colours import BACKGROUND, FAINT_TEXT, Image
from fusion_mamba_ros.perception.drawing.text import draw_text


def contact_sheet(
    images: Sequence[Image], captions: Sequence[str] = (), *, columns: int = 3, tile_width: int = 640
) -> Image:
    """Return one image with all ``images`` in a grid, each ``tile_width`` pixels wide, with captions below.

    Raises ``ValueError`` if ``images`` is empty.
    """
    if not images:
        raise ValueError("a contact sheet of no images: give at least one")
    columns = max(1, min(columns, len(images)))
    margin, caption_height = 12, 26 if captions else 0
    tiles = [resized(image, tile_width) for image in images]
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    heights = [max(tile.shape[0] for tile in row) for row in rows]
    sheet = np.full(
        (
            sum(heights) + len(rows) * (margin + caption_height) + margin,
            columns * (tile_width + margin) + margin,
            3,
        ),
        BACKGROUND,
        np.uint8,
    )
    top = margin
    for number, (row, height) in enumerate(zip(rows, heights, strict=True)):
        for column, tile in enumerate(row):
            left = margin + column * (tile_width + margin)
            sheet[top : top + tile.shape[0], left : left + tile_width] = tile
            index = number * columns + column
            if index < len(captions):
                draw_text(sheet, captions[index], (left + 2, top + height + caption_height // 2), FAINT_TEXT, 1.0)
        top += height + margin + caption_height
    return sheet


def resized(image: Image, width: int) -> Image:
    """Return ``image`` scaled to ``width`` pixels. It keeps its aspect ratio."""
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    smaller = width < image.shape[1]
    scaled = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    return np.asarray(scaled, np.uint8)
