# SPDX-License-Identifier: Apache-2.0
"""Measure what each modality contributes to a detection, by hiding images from the network (occlusion)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from math import comb

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.perception.calibration import Calibration
from fusion_mamba_ros.perception.detections import Detections
from fusion_mamba_ros.perception.engine import Engine
from fusion_mamba_ros.perception.modality import modality_named
from fusion_mamba_ros.perception.preprocessing import PreparedImages

# A box of a subset counts as the same detection from this IoU on, as in mAP50.
_SAME_BOX = 0.5

Subset = frozenset[str]


class Occlusion:
    """Contribution of each modality to the detections of an engine, as Shapley values of their scores.

    The value v(S) of a subset S of the images is the best score of the detection's class in a box with an IoU of at
    least 0.5, if the network sees the images of S alone; 0 if there is no such box. For RGB and thermal, the
    contribution of RGB is the mean of v(both) - v(thermal) and v(RGB) - v(none). The contributions of all modalities
    add up to v(all) - v(none).

    A frame costs one pass for each proper subset of its images, two for RGB and thermal. The pass without any image is
    the same for all frames and is computed once.
    """

    def __init__(self, engine: Engine, calibration: Calibration | None = None) -> None:
        self._engine, self._calibration = engine, calibration
        self._blind: npt.NDArray[np.float32] | None = None

    def contributions(
        self, prepared: PreparedImages, detections: Detections, names: Sequence[str]
    ) -> npt.NDArray[np.float64]:
        """Return the contributions (detections, names) of the images ``names``, which are those in ``prepared``.

        Raises ``ValueError`` if the output of the network is not finite.
        """
        count = len(detections)
        if len(names) == 1 or not count:
            # A single image contributes all there is.
            return np.repeat(detections.scores[:, None].astype(np.float64), len(names), axis=1)
        proper = list(_proper_subsets(names))
        rows = self._run([_hide(prepared, subset) for subset in proper])
        values: dict[Subset, npt.NDArray[np.float64]] = {frozenset(names): detections.scores.astype(np.float64)}
        for subset, found in zip(proper, rows, strict=True):
            values[subset] = _seen(found, prepared, detections)
        if self._blind is None or self._blind.shape != rows[0].shape:
            self._blind = self._run([_hide(prepared, frozenset())])[0]
        values[frozenset()] = _seen(self._blind, prepared, detections)
        return shapley_values(values, names)

    def _run(self, canvases: Sequence[Mapping[str, npt.NDArray[np.uint8]]]) -> npt.NDArray[np.float32]:
        batch = {name: np.stack([item[name] for item in canvases]).transpose(0, 3, 1, 2) for name in canvases[0]}
        output = self._engine.run(batch, self._calibration)
        if output.problem is not None:
            raise ValueError(output.problem)
        return output.rows


def shares(contributions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the share of each modality in contributions (n, M), 0 to 1, adding up to 1 in each row.

    A negative contribution counts as 0: the modality spoke against the detection. If no modality contributes, all have
    the same share.
    """
    positive: npt.NDArray[np.float64] = np.clip(contributions, 0, None)
    totals = positive.sum(axis=-1, keepdims=True)
    equal = np.full_like(positive, 1 / contributions.shape[-1])
    found: npt.NDArray[np.float64] = np.divide(positive, totals, out=equal, where=totals > 0)
    return found


def frame_shares(contributions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64] | None:
    """Return the share of each modality (M,) in all detections of a frame; None if there is no detection."""
    return shares(np.clip(contributions, 0, None).sum(axis=0)) if len(contributions) else None


def shapley_values(values: Mapping[Subset, npt.NDArray[np.float64]], names: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return the Shapley values (n, names) of a game with the values (n,) of all subsets of ``names``."""
    columns = []
    for name in names:
        others = [other for other in names if other != name]
        column = np.zeros_like(values[frozenset()])
        for size in range(len(names)):
            weight = 1 / (len(names) * comb(len(others), size))
            for subset in map(frozenset, combinations(others, size)):
                column = column + weight * (values[subset | {name}] - values[subset])
        columns.append(column)
    return np.stack(columns, axis=-1)


def _seen(rows: npt.NDArray[np.float32], prepared: PreparedImages, detections: Detections) -> npt.NDArray[np.float64]:
    # Detections are clipped to the image. A box that is not clipped would not match them at the border.
    boxes = prepared.letterbox.boxes_to_image(rows[:, :4])
    return best_scores(boxes, rows[:, 4:], detections.boxes, detections.labels)


def best_scores(
    candidates: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    boxes: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    """Return for each box (n, 4) the best score of its label among the ``candidates`` (anchors, 4) with an IoU of 0.5.

    ``scores``: (anchors, classes). 0 if there is no such candidate.
    """
    best = np.zeros(len(boxes))
    for index, (box, label) in enumerate(zip(boxes, labels, strict=True)):
        near = _iou(candidates, box) >= _SAME_BOX
        if near.any():
            best[index] = scores[near, label].max()
    return best


def _iou(candidates: npt.NDArray[np.float32], box: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    corners = candidates.astype(np.float64)
    sides = np.minimum(corners[:, 2:], box[2:]) - np.maximum(corners[:, :2], box[:2])
    shared = np.clip(sides, 0, None).prod(axis=1)
    areas = np.clip(corners[:, 2:] - corners[:, :2], 0, None).prod(axis=1) + float(np.prod(box[2:] - box[:2]))
    return np.asarray(shared / np.maximum(areas - shared, 1e-9))


def _proper_subsets(names: Sequence[str]) -> Iterable[Subset]:
    for size in range(1, len(names)):
        yield from map(frozenset, combinations(names, size))


def _hide(prepared: PreparedImages, kept: Subset) -> dict[str, npt.NDArray[np.uint8]]:
    """Return the canvases with the missing value of its modality in place of each image that is not ``kept``."""
    return {
        name: canvas if name in kept else modality_named(name).missing(*canvas.shape)
        for name, canvas in prepared.canvases.items()
    }
