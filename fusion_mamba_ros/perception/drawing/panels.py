# SPDX-License-Identifier: Apache-2.0
"""Draw the images of one moment side by side, one panel for each modality, under a line of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.perception.detections import Detections, Mode
from fusion_mamba_ros.perception.drawing.boxes import DrawnBox, detection_boxes, draw_tagged_boxes
from fusion_mamba_ros.perception.drawing.colours import (
    BACKGROUND,
    COMPLETE,
    FAINT_TEXT,
    INCOMPLETE,
    MISSING_BACKGROUND,
    TEXT,
    Image,
)
from fusion_mamba_ros.perception.drawing.text import draw_text, text_width, unit_of
from fusion_mamba_ros.perception.letterbox import Size, size_of
from fusion_mamba_ros.perception.modality import REFERENCE, Images, in_order, known_modalities, modality_named
from fusion_mamba_ros.perception.registration import Homographies, Homography, relative_homography, warp_to_rgb_view
from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling


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
    boxes = detection_boxes(detections, class_names)
    panels = []
    for name in in_order(images):
        entry = modality_named(name)
        if name not in there:
            panels.append(_missing_panel(size, f"no {entry.title} image"))
            continue
        levels = entry.levels(there[name], scaling or ThermalScaling())
        view = warp_to_rgb_view(levels, relative_homography(name, reference, homographies or {}), size)
        panels.append(_panel(view, boxes))
    row = _row(panels)
    return np.concatenate([banner(row.shape[1], detections, caption, unit_of(size)), row])


def side_by_side(images: Sequence[Image], boxes: Sequence[DrawnBox], caption: str) -> Image:
    """Return ``images`` of one size, grey or RGB, side by side under ``caption``, with the same boxes on each."""
    row = _row([_panel(image, boxes) for image in images])
    unit = unit_of(size_of(images[0]))
    strip = _strip(row.shape[1], unit)
    draw_text(strip, caption, (round(14 * unit), strip.shape[0] // 2), TEXT, unit)
    return np.concatenate([strip, row])


def banner(width: int, detections: Detections, caption: str = "", unit: float = 1.0) -> Image:
    """Return a strip of ``width`` pixels with the mode, the number of detections and ``caption``."""
    strip = _strip(width, unit)
    middle = strip.shape[0] // 2
    text, colour = _mode_text(detections.mode), COMPLETE if detections.mode is Mode.FUSED else INCOMPLETE
    radius = round(5 * unit)
    margin = round(14 * unit)
    cv2.circle(strip, (margin + radius, middle), radius, colour, -1, cv2.LINE_AA)
    left = margin + 3 * radius
    left += draw_text(strip, text, (left, middle), colour, unit) + margin
    count = len(detections)
    left += draw_text(strip, f"{count} detection{'' if count == 1 else 's'}", (left, middle), TEXT, unit) + margin
    if caption:
        room = width - left - margin
        caption_width = text_width(caption, unit)
        if caption_width <= room:
            draw_text(strip, caption, (width - margin - caption_width, middle), FAINT_TEXT, unit)
    return strip


def _mode_text(mode: Mode) -> str:
    """Return the mode as readable text, for example `RGB + depth`, `thermal only` or `fused`."""
    if mode is Mode.FUSED:
        return "fused"
    titles = {name: modality_named(name).title for name in known_modalities()}
    names = mode.value.removesuffix("_only").split("+")
    text = " + ".join(titles.get(name, name) for name in names)
    return text if len(names) > 1 else f"{text} only"


def _panel(levels: Image, boxes: Sequence[DrawnBox]) -> Image:
    colour = levels if levels.ndim == 3 else np.asarray(cv2.cvtColor(levels, cv2.COLOR_GRAY2RGB), np.uint8)
    return draw_tagged_boxes(colour, boxes)


def _missing_panel(size: Size, text: str) -> Image:
    panel = np.full((size[1], size[0], 3), MISSING_BACKGROUND, np.uint8)
    unit = unit_of(size) * 1.3
    draw_text(panel, text, ((size[0] - text_width(text, unit)) // 2, size[1] // 2), FAINT_TEXT, unit)
    return panel


def _row(panels: Sequence[Image]) -> Image:
    """Return ``panels`` of one size side by side with a gap between them."""
    height, width = panels[0].shape[:2]
    gap = np.full((height, max(2, width // 160), 3), BACKGROUND, np.uint8)
    return np.concatenate([part for panel in panels for part in (gap, panel)][1:], axis=1)


def _strip(width: int, unit: float) -> Image:
    return np.full((round(30 * unit), width, 3), BACKGROUND, np.uint8)
