# SPDX-License-Identifier: Apache-2.0
"""Draw boxes, classes, scores and the mode on the image of each modality. All drawings are RGB, uint8."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.perception.detections import Detections, Mode
from fusion_mamba_ros.perception.letterbox import Size, size_of
from fusion_mamba_ros.perception.modality import REFERENCE, Images, in_order, known_modalities, modality_named
from fusion_mamba_ros.perception.registration import Homographies, Homography, relative_homography, warp_to_rgb_view
from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling

Image = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

# Bright on thermal and on night RGB images, and distinguishable for colour-blind people (after Okabe and Ito).
PALETTE: tuple[Colour, ...] = (
    (255, 176, 0),
    (86, 200, 255),
    (255, 99, 110),
    (110, 220, 120),
    (215, 130, 255),
    (250, 235, 90),
    (80, 220, 205),
    (255, 140, 200),
)
_BACKGROUND: Colour = (18, 20, 24)
_TEXT: Colour = (236, 238, 242)
_FAINT: Colour = (150, 156, 166)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_COMPLETE: Colour = (110, 220, 120)
_INCOMPLETE: Colour = (255, 176, 0)
# Glyphs are drawn larger by this factor and averaged down, because OpenCV's strokes are rough at reading size.
_OVERSAMPLING = 4


def draw_boxes(image: Image, detections: Detections, class_names: Sequence[str]) -> Image:
    """Return a copy of ``image`` with the boxes of ``detections``, best on top, tagged with class and percentage.

    A tag that would cover the tag of a better box is omitted; its box is still drawn.
    """
    canvas = np.ascontiguousarray(image).copy()
    unit = _unit(size_of(canvas))
    for index in range(len(detections) - 1, -1, -1):
        label = int(detections.labels[index])
        colour = PALETTE[label % len(PALETTE)]
        x1, y1, x2, y2 = (round(float(value)) for value in detections.boxes[index])
        corners = (x1, y1), (max(x2 - 1, x1), max(y2 - 1, y1))
        # A dark edge keeps the box visible on a bright background.
        cv2.rectangle(canvas, *corners, _BACKGROUND, round(2 * unit) + 2)
        cv2.rectangle(canvas, *corners, colour, max(1, round(2 * unit)))
    _draw_tags(canvas, detections, class_names, unit)
    return canvas


def draw_pair(
    rgb: Image | None,
    thermal: npt.NDArray[Any] | None,
    detections: Detections,
    class_names: Sequence[str],
    *,
    scaling: ThermalScaling | None = None,
    homography: Homography | None = None,
    reference_size: Size | None = None,
    caption: str = "",
) -> Image:
    """Return RGB and thermal side by side under a banner with the mode, with boxes on both.

    ``homography`` warps the thermal image to the view of the RGB camera, so that the boxes fit. Without an RGB image
    and without ``reference_size`` the thermal image is not warped, because the boxes are then in its own pixels. A
    missing image is drawn as a dark panel that says so. :func:`scale_thermal` describes the shape and type of
    ``thermal``.
    """
    return draw_images(
        {"rgb": rgb, "thermal": thermal},
        detections,
        class_names,
        scaling=scaling,
        homographies=None if homography is None else {"thermal": homography},
        reference_size=reference_size,
        caption=caption,
    )


def draw_images(
    images: Images,
    detections: Detections,
    class_names: Sequence[str],
    *,
    scaling: ThermalScaling | None = None,
    homographies: Homographies | None = None,
    reference_size: Size | None = None,
    caption: str = "",
) -> Image:
    """Return the images side by side under a banner with the mode, with boxes on each.

    ``images`` maps modality names to images as a predictor takes them. Each entry gives one panel; the panel of an
    image that is None is dark and says that the image is missing. ``homographies`` warp each image to the view of the
    RGB camera. Without an RGB image and without ``reference_size`` the first image that is present is the reference.
    Raises ``ValueError`` if all images are missing.
    """
    there = {name: image for name, image in images.items() if image is not None}
    if not there:
        raise ValueError("no image to draw on: give at least one modality")
    names = in_order(there)
    reference = REFERENCE if REFERENCE in there or reference_size is not None else names[0]
    size = size_of(there[reference]) if reference in there else reference_size
    assert size is not None  # Without a reference image, reference_size is given.
    panels = []
    for name in in_order(images):
        entry = modality_named(name)
        if name not in there:
            panels.append(_missing_panel(size, f"no {entry.title} image"))
            continue
        levels = entry.levels(there[name], scaling or ThermalScaling())
        view = warp_to_rgb_view(levels, relative_homography(name, reference, homographies or {}), size)
        panels.append(draw_boxes(_as_colour(view), detections, class_names))
    gap = np.full((size[1], max(2, size[0] // 160), 3), _BACKGROUND, np.uint8)
    row = np.concatenate([part for panel in panels for part in (gap, panel)][1:], axis=1)
    return np.concatenate([banner(row.shape[1], detections, caption, _unit(size)), row])


def banner(width: int, detections: Detections, caption: str = "", unit: float = 1.0) -> Image:
    """Return a strip of ``width`` pixels with the mode, the number of detections and ``caption``."""
    height = round(30 * unit)
    strip = np.full((height, width, 3), _BACKGROUND, np.uint8)
    text, colour = _mode_text(detections.mode), _COMPLETE if detections.mode is Mode.FUSED else _INCOMPLETE
    radius = round(5 * unit)
    margin = round(14 * unit)
    cv2.circle(strip, (margin + radius, height // 2), radius, colour, -1, cv2.LINE_AA)
    left = margin + 3 * radius
    left += _text(strip, text, (left, height // 2), colour, unit) + margin
    count = len(detections)
    left += _text(strip, f"{count} detection{'' if count == 1 else 's'}", (left, height // 2), _TEXT, unit) + margin
    if caption:
        room = width - left - margin
        caption_width = _text_size(caption, unit)
        if caption_width <= room:
            _text(strip, caption, (width - margin - caption_width, height // 2), _FAINT, unit)
    return strip


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
    tiles = [_resized(image, tile_width) for image in images]
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    heights = [max(tile.shape[0] for tile in row) for row in rows]
    sheet = np.full(
        (
            sum(heights) + len(rows) * (margin + caption_height) + margin,
            columns * (tile_width + margin) + margin,
            3,
        ),
        _BACKGROUND,
        np.uint8,
    )
    top = margin
    for number, (row, height) in enumerate(zip(rows, heights, strict=True)):
        for column, tile in enumerate(row):
            left = margin + column * (tile_width + margin)
            sheet[top : top + tile.shape[0], left : left + tile_width] = tile
            index = number * columns + column
            if index < len(captions):
                _text(sheet, captions[index], (left + 2, top + height + caption_height // 2), _FAINT, 1.0)
        top += height + margin + caption_height
    return sheet


def _mode_text(mode: Mode) -> str:
    """Return the mode as readable text, for example `RGB + depth`, `thermal only` or `fused`."""
    if mode is Mode.FUSED:
        return "fused"
    titles = {name: modality_named(name).title for name in known_modalities()}
    names = mode.value.removesuffix("_only").split("+")
    text = " + ".join(titles.get(name, name) for name in names)
    return text if len(names) > 1 else f"{text} only"


def _as_colour(levels: Image) -> Image:
    return levels if levels.ndim == 3 else np.asarray(cv2.cvtColor(levels, cv2.COLOR_GRAY2RGB), np.uint8)


def _missing_panel(size: Size, text: str) -> Image:
    panel = np.full((size[1], size[0], 3), (30, 33, 39), np.uint8)
    unit = _unit(size) * 1.3
    _text(panel, text, ((size[0] - _text_size(text, unit)) // 2, size[1] // 2), _FAINT, unit)
    return panel


def _unit(size: Size) -> float:
    """Return the scale of lines and letters, 1 for an image of 640 x 480 pixels."""
    return float(np.clip(np.sqrt(size[0] * size[1] / (640 * 480)), 0.6, 4.0))


def _resized(image: Image, width: int) -> Image:
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    smaller = width < image.shape[1]
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    return np.asarray(resized, np.uint8)


def _draw_tags(canvas: Image, detections: Detections, class_names: Sequence[str], unit: float) -> None:
    """Write track id, class and score above, below or inside each box, at the first place without a better tag.

    The tag is omitted if there is no such place.
    """
    scale = 0.85 * unit
    padding, height = round(4 * scale), round(18 * scale)
    taken: list[tuple[int, int, int, int]] = []
    track_ids = [0] * len(detections) if detections.track_ids is None else detections.track_ids.tolist()
    for box, score, label, track_id in zip(
        detections.boxes, detections.scores, detections.labels, track_ids, strict=True
    ):
        name = class_names[label] if label < len(class_names) else str(label)
        text = f"#{track_id} " * bool(track_id) + f"{name} {100 * score:.0f}"
        width = _text_size(text, scale) + 2 * padding
        x1, y1, _, y2 = (round(float(value)) for value in box)
        left = int(np.clip(x1 - 1, 0, max(0, canvas.shape[1] - width)))
        for top in (y1 - height, y2, y1):
            place = (left, top, left + width, top + height)
            if top < 0 or top + height > canvas.shape[0] or any(_overlap(place, other) for other in taken):
                continue
            taken.append(place)
            canvas[top : top + height, left : left + width] = PALETTE[int(label) % len(PALETTE)]
            _text(canvas, text, (left + padding, top + height // 2), _BACKGROUND, scale)
            break


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _text_size(text: str, unit: float) -> int:
    return int(_glyphs(text, round(unit, 2)).shape[1])


def _text(canvas: Image, text: str, left_middle: tuple[int, int], colour: Colour, unit: float) -> int:
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
    # OpenCV's font has ASCII characters only.
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
