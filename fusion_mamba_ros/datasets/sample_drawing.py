# SPDX-License-Identifier: Apache-2.0
"""Draw the images of a sample side by side, each with the boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fusion_mamba_ros.datasets.prepared_dataset import DEFAULT_SCALING, prepare
from fusion_mamba_ros.datasets.sample import Sample
from fusion_mamba_ros.perception.drawing import DrawnBox, Image, class_colour, resized, side_by_side
from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling

__all__ = ["DrawnBox", "draw_sample", "draw_side_by_side"]


def draw_sample(sample: Sample, class_names: Sequence[str], *, image_width_px: int = 640) -> Image:
    """Return the images side by side, (H, W, 3) uint8 RGB, each with the labelled boxes and class names."""
    boxes = [
        DrawnBox(box, class_colour(label), class_names[label])
        for box, label in zip(sample.boxes, sample.labels.tolist(), strict=True)
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
) -> Image:
    """Return the images side by side, (H, W, 3) uint8 RGB, each with the same boxes, and the caption above.

    The boxes are in pixels of the sample's reference image. Each image becomes ``image_width_px`` wide.
    """
    ready = prepare(sample, scaling)
    zoom = image_width_px / ready.size[0]
    scaled = [replace(item, box=item.box * zoom) for item in boxes]
    return side_by_side([resized(image, image_width_px) for image in ready.images.values()], scaled, caption)
