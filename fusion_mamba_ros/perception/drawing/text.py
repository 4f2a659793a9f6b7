# SPDX-License-Identifier: Apache-2.0
"""Draw text into images. The font has ASCII characters only; others become question marks."""

from __future__ import annotations

import functools

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.perception.drawing.colours import Colour, Image
from fusion_mamba_ros.perception.letterbox import Size

_FONT = cv2.FONT_HERSHEY_SIMPLEX
# Glyphs are drawn larger by this factor and averaged down, because OpenCV's strokes are rough at reading size.
_OVERSAMPLING = 4


def unit_of(size: Size) -> float:
    """Return the scale of lines and letters, 1 for an image of 640 x 480 pixels."""
    return float(np.clip(np.sqrt(size[0] * size[1] / (640 * 480)), 0.6, 4.0))


def text_width(text: str, unit: float) -> int:
    """Return the width of ``text`` in pixels."""
    return int(_glyphs(text, round(unit, 2)).shape[1])


def draw_text(canvas: Image, text: str, left_middle: tuple[int, int], colour: Colour, unit: float) -> int:
    """Blend ``text`` into ``canvas``, vertically centred. Return its width in pixels."""
    cover = _glyphs(text, round(unit, 2))
    left, top = left_middle[0], left_middle[1] - cover.shape[0] // 2
    bottom, right = min(top + cover.shape[0], canvas.shape[0]), min(left + cover.shape[1], canvas.shape[1])
    if top < 0 or left < 0 or bottom <= top or right <= left:
        return int(cover.shape[1])
    cover_here = cover[: bottom - top, : right - left, None]
    area = canvas[top:bottom, left:right]
    area[...] = area + cover_here * (np.array(colour, np.float32) - area)
    return int(cover.shape[1])


@functools.lru_cache(maxsize=1024)
def _glyphs(text: str, unit: float) -> npt.NDArray[np.float32]:
    """Return the share of each pixel that ``text`` covers, from 0 to 1."""
    scale = 0.5 * unit * _OVERSAMPLING
    thickness = max(1, round(1.3 * unit * _OVERSAMPLING))
    text = text.encode("ascii", "replace").decode()
    (width, height), below = cv2.getTextSize(text, _FONT, scale, thickness)
    margin = thickness
    columns = -(-(width + 2 * margin) // _OVERSAMPLING) * _OVERSAMPLING
    # Leave as much space above the letters as the descenders take below, so that letters are centred.
    rows = -(-(height + 2 * below + 2 * margin) // _OVERSAMPLING) * _OVERSAMPLING
    large = np.zeros((rows, columns), np.uint8)
    cv2.putText(large, text, (margin, margin + below + height), _FONT, scale, 255, thickness, cv2.LINE_AA)
    small = cv2.resize(large, (columns // _OVERSAMPLING, rows // _OVERSAMPLING), interpolation=cv2.INTER_AREA)
    coverage: npt.NDArray[np.float32] = (small / 255.0).astype(np.float32)
    return coverage
