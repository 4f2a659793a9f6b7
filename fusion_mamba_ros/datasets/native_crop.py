# SPDX-License-Identifier: Apache-2.0
"""Cut a part of the network's size out of a pair, at the resolution of the images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fusion_mamba_ros.datasets.sample import Sample

# Probability that the part contains a given object. A random part of an image with few objects is often empty.
_AT_AN_OBJECT = 0.5


def random_crop(
    sample: Sample, size: tuple[int, int], minimum_visibility: float, generator: np.random.Generator
) -> Sample:
    """Return a random part of ``size`` (width, height), or as large as the image allows, of a prepared sample.

    Boxes are clipped to the part. A box is kept if at least ``minimum_visibility`` of its area is in the part.
    """
    room = np.array(sample.size) - np.minimum(size, sample.size)
    low, high = np.zeros(2), room.astype(np.float64)
    if len(sample.boxes) and generator.random() < _AT_AN_OBJECT:
        box = sample.boxes[int(generator.integers(len(sample.boxes)))].astype(np.float64)
        centre = (box[:2] + box[2:]) / 2
        low = np.clip(np.ceil(centre - np.minimum(size, sample.size)), 0, room)
        high = np.clip(np.floor(centre), 0, room)
    left, top = (int(generator.integers(int(least), int(most) + 1)) for least, most in zip(low, high, strict=True))
    width, height = (int(side) for side in np.minimum(size, sample.size))
    images = {name: image[top : top + height, left : left + width] for name, image in sample.images.items()}
    boxes = sample.boxes - np.array((left, top, left, top), np.float32)
    clipped = np.clip(boxes, 0, np.array((width, height, width, height), np.float32))
    sides, whole = clipped[:, 2:] - clipped[:, :2], boxes[:, 2:] - boxes[:, :2]
    keep = (sides > 0).all(axis=1) & (sides.prod(axis=1) >= minimum_visibility * whole.prod(axis=1))
    return replace(sample, images=images, boxes=clipped[keep], labels=sample.labels[keep])
