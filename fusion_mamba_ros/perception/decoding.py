# SPDX-License-Identifier: Apache-2.0
"""Convert decoded network output to detections in pixels of the reference image."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.perception.detections import Detections, Mode
from fusion_mamba_ros.perception.letterbox import Letterbox
from fusion_mamba_ros.perception.nms import nms


def select_candidates(
    decoded: npt.NDArray[np.float32], *, score_threshold: float, classes: Collection[int] | None, multi_label: bool
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return boxes (n, 4) in canvas pixels, scores and labels of the candidates before NMS.

    A candidate is an anchor whose score is at least ``score_threshold``. ``decoded`` (anchors, 4 + classes) holds
    x1 y1 x2 y2, then probabilities. ``classes`` are the labels to keep, None for all. With ``multi_label`` an anchor
    gives one candidate for every class that reaches the threshold (the evaluation protocol), otherwise only for its
    best class.
    """
    probabilities = decoded[:, 4:]
    if classes is not None:
        wanted = np.zeros(probabilities.shape[1], bool)
        wanted[list(classes)] = True
        probabilities = np.where(wanted, probabilities, np.float32(-1.0))
    # Compare as float32, whatever type the caller's threshold has.
    least = np.float32(score_threshold)
    if multi_label:
        anchors, labels = np.nonzero(probabilities >= least)
    else:
        anchors = np.nonzero(probabilities.max(axis=1) >= least)[0]
        labels = probabilities[anchors].argmax(axis=1)
    return decoded[anchors, :4], probabilities[anchors, labels], labels


def detections_from(
    decoded: npt.NDArray[np.float32],
    letterbox: Letterbox,
    mode: Mode,
    *,
    score_threshold: float,
    nms_threshold: float,
    max_detections: int,
    classes: Collection[int] | None = None,
    multi_label: bool = False,
) -> Detections:
    """Return the detections of one image after thresholding, clipping and NMS, in pixels of the reference image.

    ``decoded`` (anchors, 4 + classes) is the input of :func:`select_candidates`. Boxes that lie in the padding or are
    not finite are dropped.
    """
    boxes, scores, labels = select_candidates(
        decoded, score_threshold=score_threshold, classes=classes, multi_label=multi_label
    )
    # Check for finite boxes before clipping, because clipping turns infinity into the image border.
    solid = np.isfinite(boxes).all(axis=1)
    boxes = letterbox.boxes_to_image(boxes)
    solid &= (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    boxes, scores, labels = boxes[solid], scores[solid], labels[solid]
    kept = nms(boxes, scores, labels, nms_threshold=nms_threshold, max_detections=max_detections)
    return Detections(
        boxes=boxes[kept],
        scores=np.clip(scores[kept], 0.0, 1.0).astype(np.float32),
        labels=labels[kept].astype(np.int64),
        mode=mode,
    )
