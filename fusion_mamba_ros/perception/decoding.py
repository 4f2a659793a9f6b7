# SPDX-License-Identifier: Apache-2.0
"""Decoded network output to detections in pixels of the reference image."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import torch

from fusion_mamba_ros.perception.detections import Detections, Mode
from fusion_mamba_ros.perception.letterbox import Letterbox
from fusion_mamba_ros.perception.suppression import suppress


def select_candidates(
    decoded: torch.Tensor, *, score_threshold: float, classes: Collection[int] | None, multi_label: bool
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return boxes (n, 4) in canvas pixels, scores and labels of what reaches ``score_threshold``, before suppression.

    ``decoded`` (anchors, 4 + classes): x1 y1 x2 y2, then probabilities. ``classes``: the labels that count, None for
    all. ``multi_label``: an anchor counts for every class that reaches the threshold (the evaluation protocol), not
    for its best one alone. Only what is left crosses from the device.
    """
    probabilities = decoded[:, 4:].float()
    if classes is not None:
        wanted = torch.zeros(probabilities.shape[1], dtype=torch.bool, device=decoded.device)
        wanted[list(classes)] = True
        probabilities = torch.where(wanted, probabilities, -1.0)
    if multi_label:
        anchors, labels = torch.nonzero(probabilities >= score_threshold, as_tuple=True)
        scores = probabilities[anchors, labels]
    else:
        best, label = probabilities.max(dim=1)
        anchors = torch.nonzero(best >= score_threshold)[:, 0]
        scores, labels = best[anchors], label[anchors]
    return decoded[anchors, :4].float().cpu().numpy(), scores.cpu().numpy(), labels.cpu().numpy()


def detections_from(
    decoded: torch.Tensor,
    letterbox: Letterbox,
    mode: Mode,
    *,
    score_threshold: float,
    nms_threshold: float,
    max_detections: int,
    classes: Collection[int] | None = None,
    multi_label: bool = False,
) -> Detections:
    """Return the detections of one image: thresholded, in pixels of the reference image, clipped to it, suppressed.

    ``decoded`` (anchors, 4 + classes) as :func:`select_candidates` takes it. A box that lies in the padding is dropped;
    so is one that is not finite.
    """
    boxes, scores, labels = select_candidates(
        decoded, score_threshold=score_threshold, classes=classes, multi_label=multi_label
    )
    # Asked before clipping, which makes infinity a border.
    solid = np.isfinite(boxes).all(axis=1)
    boxes = letterbox.boxes_to_image(boxes)
    solid &= (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    boxes, scores, labels = boxes[solid], scores[solid], labels[solid]
    kept = suppress(boxes, scores, labels, nms_threshold=nms_threshold, max_detections=max_detections)
    return Detections(
        boxes=boxes[kept],
        scores=np.clip(scores[kept], 0.0, 1.0).astype(np.float32),
        labels=labels[kept].astype(np.int64),
        mode=mode,
    )
