# SPDX-License-Identifier: Apache-2.0
"""Paste objects of one pair into another pair, at the same place in all its images."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.datasets.sample import Sample

# Largest fraction of an existing box that a pasted object may cover. An object that is covered more cannot be located.
_MOST_COVERED = 0.3
_TRIES = 5
_SMALLEST_SIDE_PX = 4
# Blend the edges: otherwise the detector would learn to find the seams of pasted objects.
_SOFT_EDGE_PX = 2


def paste_objects(sample: Sample, donor: Sample, most: int, generator: np.random.Generator) -> Sample:
    """Return ``sample`` with up to ``most`` objects of ``donor`` in each of its images, and their boxes.

    An object keeps its size and its vertical position, relative to the image, and moves horizontally. So it stands on
    the ground at a place that fits its size. An object is skipped if no place is free. Both samples must be prepared
    (all images have one size). The sample is returned unchanged if the two samples have different modalities.
    """
    if sample.images.keys() != donor.images.keys():
        return sample
    if not len(donor.labels) or most < 1:
        return sample
    size = np.array(sample.size, np.float64)
    factor = size / np.array(donor.size, np.float64)
    count = int(generator.integers(1, most + 1))
    chosen = generator.permutation(len(donor.labels))[:count]
    images = {name: image.copy() for name, image in sample.images.items()}
    boxes, labels = list(sample.boxes), list(sample.labels)
    for index in chosen:
        source = _whole_pixels(donor.boxes[index], donor.size)
        side = np.round((source[2:] - source[:2]) * factor).astype(int)
        if (side < _SMALLEST_SIDE_PX).any() or (side > size).any():
            continue
        top = int(np.clip(round(source[1] * factor[1]), 0, size[1] - side[1]))
        for _ in range(_TRIES):
            left = int(generator.integers(0, int(size[0] - side[0]) + 1))
            box = np.array([left, top, left + side[0], top + side[1]], np.float32)
            if _covered(box, boxes) <= _MOST_COVERED:
                for name, image in images.items():
                    _paste(image, donor.images[name], source, box.astype(int))
                boxes.append(box)
                labels.append(donor.labels[index])
                break
    return replace(
        sample,
        images=images,
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.array(labels, np.int64),
    )


def _whole_pixels(box: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.int64]:
    """Round the box to whole pixels and clip it to an image of ``size`` (width, height)."""
    return np.clip(np.round(box), 0, (*size, *size)).astype(np.int64)


def _covered(box: npt.NDArray[np.float32], others: list[npt.NDArray[np.float32]]) -> float:
    """Return the largest fraction of any box in ``others`` that ``box`` covers."""
    if not others:
        return 0.0
    rows = np.array(others, np.float64)
    sides = np.minimum(rows[:, 2:], box[2:]) - np.maximum(rows[:, :2], box[:2])
    areas = (rows[:, 2:] - rows[:, :2]).prod(axis=1)
    return float((np.clip(sides, 0, None).prod(axis=1) / np.maximum(areas, 1e-9)).max())


def _paste(
    image: npt.NDArray[np.uint8],
    donor: npt.NDArray[np.uint8],
    source: npt.NDArray[np.int64],
    place: npt.NDArray[np.int64],
) -> None:
    cut = donor[source[1] : source[3], source[0] : source[2]]
    size = (int(place[2] - place[0]), int(place[3] - place[1]))
    pasted = cv2.resize(cut, size, interpolation=cv2.INTER_LINEAR).astype(np.float32)
    target = image[place[1] : place[3], place[0] : place[2]]
    alpha = np.outer(_ramp(size[1]), _ramp(size[0])).reshape(size[1], size[0], *[1] * (image.ndim - 2))
    target[:] = np.rint(target + alpha * (pasted - target)).astype(np.uint8)


def _ramp(length: int) -> npt.NDArray[np.float32]:
    """Return blending weights (length,) that increase to 1 within the soft edge at both ends."""
    steps = np.arange(1, length + 1, dtype=np.float32)
    return np.minimum(np.minimum(steps, steps[::-1]) / (_SOFT_EDGE_PX + 1), 1.0)
