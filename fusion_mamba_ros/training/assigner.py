# SPDX-License-Identifier: Apache-2.0
"""Assignment of objects to anchors for training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fusion_mamba_ros.training.box_overlap import complete_iou

_EPSILON = 1e-9


@dataclass(frozen=True)
class Assignment:
    """Targets of each anchor.

    ``boxes``: (B, A, 4) in pixels. ``scores``: (B, A, classes) in [0, 1].
    ``positive``: (B, A), true for anchors with an assigned object. For other anchors the scores are zero and the boxes
    have no meaning.
    """

    boxes: Tensor
    scores: Tensor
    positive: Tensor


@dataclass(frozen=True)
class TaskAlignedAssigner:
    """Assign to each object the anchors inside its box that already classify and locate it best.

    The alignment of an anchor with an object is score ** ``alpha`` * CIoU ** ``beta``. Each object is assigned to the
    ``top_k`` anchors with the highest alignment among those whose centre lies in its box. If several objects choose the
    same anchor, the anchor gets the object with the highest CIoU. The target score is the alignment, scaled so that the
    best anchor of each object gets that object's best CIoU.
    ``minimum_side_px``: shortest box edge in the test whether a centre lies inside the box. Without this limit, an
    object smaller than the finest stride may contain no centre and is then never learned. YOLOv8 uses 0.
    Source: arXiv 2108.07755 (TOOD), section 3.2, with the constants of YOLOv8.
    """

    top_k: int = 10
    alpha: float = 0.5
    beta: float = 6.0
    minimum_side_px: float = 0.0

    @torch.no_grad()
    def __call__(
        self, scores: Tensor, boxes: Tensor, centres: Tensor, labels: Tensor, targets: Tensor, valid: Tensor
    ) -> Assignment:
        """Return the assignment of a batch.

        Predictions: ``scores`` (B, A, classes) as probabilities, ``boxes`` (B, A, 4) in pixels.
        Anchors: ``centres`` (A, 2) in pixels.
        Objects, padded to M: ``labels`` (B, M) int64, ``targets`` (B, M, 4) in pixels, ``valid`` (B, M) bool.
        """
        batch, anchors = scores.shape[:2]
        if targets.shape[1] == 0:
            nothing = boxes.new_zeros((batch, anchors), dtype=torch.bool)
            return Assignment(torch.zeros_like(boxes), torch.zeros_like(scores), nothing)
        inside = self._inside(centres, targets) & valid[..., None]  # (B, M, A)
        overlap = complete_iou(targets[:, :, None], boxes[:, None]).clamp(min=0)
        wanted = labels[:, None].expand(-1, anchors, -1)
        class_scores = scores.gather(2, wanted).transpose(1, 2)
        alignment = torch.where(inside, class_scores**self.alpha * overlap**self.beta, -1.0)
        best = alignment.topk(min(self.top_k, anchors), dim=-1).indices
        chosen = torch.zeros_like(inside).scatter_(2, best, True) & inside

        # If several objects choose the same anchor, the anchor gets the object with the highest CIoU.
        rival = torch.where(chosen, overlap, -1.0)
        owner = rival.argmax(dim=1)  # (B, A)
        positive = chosen.any(dim=1)
        owned = chosen & (torch.arange(targets.shape[1], device=boxes.device)[:, None] == owner[:, None])

        alignment = torch.where(owned, alignment, 0.0)
        best_overlap = torch.where(owned, overlap, 0.0).amax(dim=-1, keepdim=True)
        scaled = alignment * best_overlap / (alignment.amax(dim=-1, keepdim=True) + _EPSILON)
        strength = scaled.amax(dim=1)
        target_boxes = targets.gather(1, owner[..., None].expand(-1, -1, 4))
        target_labels = labels.gather(1, owner)
        target_scores = torch.zeros_like(scores).scatter_(2, target_labels[..., None], strength[..., None])
        return Assignment(target_boxes, target_scores, positive)

    def _inside(self, centres: Tensor, targets: Tensor) -> Tensor:
        middle = (targets[..., :2] + targets[..., 2:]) / 2
        half = ((targets[..., 2:] - targets[..., :2]) / 2).clamp(min=self.minimum_side_px / 2)
        offset = (centres - middle[:, :, None]).abs()
        return (half[:, :, None] - offset).amin(dim=-1) > _EPSILON
