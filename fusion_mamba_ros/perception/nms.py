# SPDX-License-Identifier: Apache-2.0
"""Non-maximum suppression (NMS): keep the best of several overlapping boxes of one class."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

# Maximum number of candidates. The worst are dropped before NMS, whose cost grows with the square of their number.
MAX_CANDIDATES = 5000


def nms(
    boxes: npt.NDArray[Any],
    scores: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    *,
    nms_threshold: float,
    max_detections: int,
) -> npt.NDArray[np.intp]:
    """Return the indices of the boxes that NMS keeps, best score first, at most ``max_detections``.

    A box is dropped if its intersection over union with a better kept box of the same class exceeds ``nms_threshold``.
    Boxes of equal score stay in the given order. ``boxes`` (n, 4) are x1 y1 x2 y2 in pixels and not negative;
    ``scores`` are (n,) and ``labels`` are (n,).
    """
    order = np.argsort(-scores, kind="stable")[:MAX_CANDIDATES]
    if nms_threshold >= 1.0 or len(order) < 2:
        return order[:max_detections]
    corners = boxes[order].astype(np.float64)
    corners[:, 2:] -= corners[:, :2]
    # OpenCV sorts by score. Pass ranks instead of scores, so that it keeps our order of ties.
    ranks = np.arange(len(order), 0, -1, dtype=np.float32)
    # Typed as Any, because OpenCV's stubs require lists although the function takes arrays.
    batched_nms: Any = cv2.dnn.NMSBoxesBatched
    kept = batched_nms(corners, ranks, labels[order].astype(np.int32), 0.0, nms_threshold)
    return order[np.asarray(kept, np.intp).reshape(-1)[:max_detections]]
