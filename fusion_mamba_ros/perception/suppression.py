# SPDX-License-Identifier: Apache-2.0
"""Non-maximum suppression: of boxes of one class that overlap, the best one stays."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

# Beyond this many candidates the worst are dropped before suppression, which grows with the square of their number.
MAX_CANDIDATES = 5000


def suppress(
    boxes: npt.NDArray[Any],
    scores: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    *,
    nms_threshold: float,
    max_detections: int,
) -> npt.NDArray[np.intp]:
    """Return the indices of the boxes that stay, best score first, ties in the order given, at most ``max_detections``.

    A box is dropped if it overlaps a better one of the same class that stays by an intersection over union of more than
    ``nms_threshold``. ``boxes`` (n, 4): x1 y1 x2 y2, none negative, pixels; ``scores`` (n,); ``labels`` (n,).
    """
    order = np.argsort(-scores, kind="stable")[:MAX_CANDIDATES]
    if nms_threshold >= 1.0 or len(order) < 2:
        return order[:max_detections]
    corners = boxes[order].astype(np.float64)
    corners[:, 2:] -= corners[:, :2]
    # OpenCV sorts by score itself; ranks instead of scores make its order of ties ours.
    ranks = np.arange(len(order), 0, -1, dtype=np.float32)
    # Any, because OpenCV's stubs ask for lists although it takes arrays as they are.
    non_maximum_suppression: Any = cv2.dnn.NMSBoxesBatched
    kept = non_maximum_suppression(corners, ranks, labels[order].astype(np.int32), 0.0, nms_threshold)
    return order[np.asarray(kept, np.intp).reshape(-1)[:max_detections]]
