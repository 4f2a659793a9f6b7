# SPDX-License-Identifier: Apache-2.0
"""Detections of an image from the decoded output of its tiles."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.perception.decoding import detections_from
from fusion_mamba_ros.perception.detections import Detections
from fusion_mamba_ros.perception.nms import nms
from fusion_mamba_ros.perception.preprocessing import PreparedImages
from fusion_mamba_ros.perception.thresholds import Thresholds
from fusion_mamba_ros.perception.tiling import Tile

# A box this close to the border of its tile, in canvas pixels, is taken for a part of an object.
_CUT_PX = 2.0
# A cut box is dropped if this fraction of its area lies in an uncut box of the same class in another tile.
_COVERED = 0.7


def merged_detections(
    rows: npt.NDArray[np.float32],
    prepared: Sequence[PreparedImages],
    thresholds: Thresholds,
    classes: Collection[int] | None,
) -> Detections:
    """Return the detections of one image, in pixels of the whole reference image, best first.

    ``rows`` (tiles, anchors, 4 + classes) and ``prepared`` have one entry for each tile, or one for the whole image. Of
    several tiles, each has an NMS of its own. Then, a box that a border between tiles cuts is dropped if most of it
    lies in a whole box of the same class in another tile. Last comes an NMS over the boxes of all tiles. ``classes``
    are the labels to keep, None for all.
    """
    parts = [
        detections_from(
            tile_rows,
            item.letterbox,
            item.mode,
            score_threshold=thresholds.score_threshold,
            nms_threshold=thresholds.nms_threshold,
            max_detections=thresholds.max_detections,
            classes=classes,
            multi_label=thresholds.multi_label,
        )
        for tile_rows, item in zip(rows, prepared, strict=True)
    ]
    if len(parts) == 1:
        return parts[0]
    tiles = [item.tile for item in prepared if item.tile is not None]
    cut = np.concatenate(
        [
            _is_cut(part.boxes, tile, item.letterbox.scale)
            for part, tile, item in zip(parts, tiles, prepared, strict=True)
        ]
    )
    boxes = np.concatenate(
        [part.boxes + np.array((tile.x, tile.y) * 2, np.float32) for part, tile in zip(parts, tiles, strict=True)]
    )
    scores = np.concatenate([part.scores for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    tile_of = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    whole = ~(cut & _are_covered(boxes, labels, tile_of, cut))
    boxes, scores, labels = boxes[whole], scores[whole], labels[whole]
    kept = nms(
        boxes,
        scores,
        labels,
        nms_threshold=thresholds.nms_threshold,
        max_detections=thresholds.max_detections,
    )
    return Detections(boxes[kept], scores[kept], labels[kept], parts[0].mode)


def _is_cut(boxes: npt.NDArray[np.float32], tile: Tile, scale: tuple[float, float]) -> npt.NDArray[np.bool_]:
    """Return which boxes, in pixels of the tile, touch a border of the tile that is not a border of the image."""
    margin = np.tile(_CUT_PX / np.array(scale), 2)
    distances = np.abs(boxes - np.array([0, 0, tile.width, tile.height]))
    width, height = tile.image_size
    inner = np.array([tile.x > 0, tile.y > 0, tile.x + tile.width < width, tile.y + tile.height < height])
    return np.asarray(((distances <= margin) & inner).any(axis=1), bool)


def _are_covered(
    boxes: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    tile_of: npt.NDArray[np.intp],
    cut: npt.NDArray[np.bool_],
) -> npt.NDArray[np.bool_]:
    """Return which cut boxes lie mostly in an uncut box of their class from another tile."""
    covered = np.zeros(len(boxes), bool)
    uncut = np.nonzero(~cut)[0]
    for index in np.nonzero(cut)[0]:
        rivals = uncut[(labels[uncut] == labels[index]) & (tile_of[uncut] != tile_of[index])]
        low = np.maximum(boxes[rivals, :2], boxes[index, :2])
        high = np.minimum(boxes[rivals, 2:], boxes[index, 2:])
        area = np.prod(boxes[index, 2:] - boxes[index, :2])
        covered[index] = (np.prod(np.clip(high - low, 0, None), axis=1) >= _COVERED * area).any()
    return covered
