# SPDX-License-Identifier: Apache-2.0
"""Complete intersection over union (CIoU) of boxes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_EPSILON = 1e-7


def complete_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Return the CIoU of two sets of boxes: the IoU minus penalties for centre distance and aspect ratio.

    Boxes: (..., 4) as x1 y1 x2 y2; the shapes broadcast. Result: (...) in (-2, 1].
    No gradient flows through the weight of the aspect ratio term.
    Source: arXiv 1911.08287, equations 8 to 11.
    """
    x1, y1, x2, y2 = boxes.unbind(-1)
    u1, v1, u2, v2 = others.unbind(-1)
    width, height = (x2 - x1), (y2 - y1)
    other_width, other_height = (u2 - u1), (v2 - v1)
    overlap = (torch.minimum(x2, u2) - torch.maximum(x1, u1)).clamp(min=0) * (
        torch.minimum(y2, v2) - torch.maximum(y1, v1)
    ).clamp(min=0)
    iou = overlap / (width * height + other_width * other_height - overlap + _EPSILON)
    hull_width = torch.maximum(x2, u2) - torch.minimum(x1, u1)
    hull_height = torch.maximum(y2, v2) - torch.minimum(y1, v1)
    diagonal = hull_width**2 + hull_height**2 + _EPSILON
    distance = ((u1 + u2 - x1 - x2) ** 2 + (v1 + v2 - y1 - y2) ** 2) / 4
    angle = torch.atan(other_width / (other_height + _EPSILON)) - torch.atan(width / (height + _EPSILON))
    aspect = 4 / math.pi**2 * angle**2
    with torch.no_grad():
        weight = aspect / (aspect - iou + 1 + _EPSILON)
    return iou - distance / diagonal - aspect * weight
