# SPDX-License-Identifier: Apache-2.0
"""Draw boxes, classes, scores and the mode on images. All drawings are RGB, uint8."""

from fusion_mamba_ros.perception.drawing.boxes import DrawnBox, draw_boxes, draw_tagged_boxes
from fusion_mamba_ros.perception.drawing.colours import PALETTE, Colour, Image, class_colour
from fusion_mamba_ros.perception.drawing.contact_sheet import contact_sheet, resized
from fusion_mamba_ros.perception.drawing.panels import banner, draw_images, draw_pair, side_by_side

__all__ = [
    "PALETTE",
    "Colour",
    "DrawnBox",
    "Image",
    "banner",
    "class_colour",
    "contact_sheet",
    "draw_boxes",
    "draw_images",
    "draw_pair",
    "draw_tagged_boxes",
    "resized",
    "side_by_side",
]
