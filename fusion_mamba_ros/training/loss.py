# SPDX-License-Identifier: Apache-2.0
"""The loss of YOLOv8: CIoU and distribution focal loss of the boxes, binary cross entropy of the classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from fusion_mamba_ros.network.head import DetectionHead
from fusion_mamba_ros.training.assigner import TaskAlignedAssigner
from fusion_mamba_ros.training.box_overlap import complete_iou


@dataclass(frozen=True)
class Targets:
    """Objects of a batch, padded to M: ``labels`` (B, M) int64, ``boxes`` (B, M, 4) pixels, ``valid`` (B, M) bool.

    ``labelled`` (B, classes) bool says which classes have boxes in each image; None: all.
    """

    labels: Tensor
    boxes: Tensor
    valid: Tensor
    labelled: Tensor | None = None

    def to(self, device: torch.device) -> Targets:
        """Return the targets on ``device``."""
        labelled = None if self.labelled is None else self.labelled.to(device)
        return Targets(self.labels.to(device), self.boxes.to(device), self.valid.to(device), labelled)


@dataclass(frozen=True)
class LossTerms:
    """Weighted loss terms of a batch, each divided by the sum of the target scores."""

    box: Tensor
    distribution: Tensor
    classes: Tensor

    @property
    def total(self) -> Tensor:
        """Sum of the three terms."""
        return self.box + self.distribution + self.classes


@dataclass(frozen=True)
class DetectionLoss:
    """CIoU, distribution focal loss and binary cross entropy with the gains of YOLOv8.

    Each term is a sum over the batch, divided by the sum of the target scores (at least 1). The box terms are weighted
    by the target scores. A class that is not labelled in an image adds no loss at anchors without an object of it.
    ``reduce_normaliser`` adds up the sum of the target scores over all processes, so that the losses of the processes
    add up to the loss of the whole batch.
    """

    assigner: TaskAlignedAssigner = field(default_factory=TaskAlignedAssigner)
    box_gain: float = 7.5
    dfl_gain: float = 1.5
    cls_gain: float = 0.5

    def __call__(
        self,
        head: DetectionHead,
        levels: list[Tensor],
        targets: Targets,
        reduce_normaliser: Callable[[Tensor], Tensor] = lambda total: total,
    ) -> LossTerms:
        """Return the loss terms for the raw maps ``levels``, computed in float32."""
        distributions, logits, centres, strides = head.flatten(levels)
        boxes = head.boxes(distributions, centres, strides)
        assigned = self.assigner(
            logits.detach().sigmoid(), boxes.detach(), centres, targets.labels, targets.boxes, targets.valid
        )
        normaliser = reduce_normaliser(assigned.scores.sum()).clamp(min=1.0)
        # Where a class is not labelled, an anchor without an object may show one: it is no background of that class.
        counted = None
        if targets.labelled is not None:
            counted = (targets.labelled[:, None] | (assigned.scores > 0)).to(logits.dtype)
        classes = functional.binary_cross_entropy_with_logits(logits, assigned.scores, counted, reduction="sum")

        image, anchor = assigned.positive.nonzero(as_tuple=True)
        weight = assigned.scores[image, anchor].sum(dim=-1)
        wanted, centre, stride = assigned.boxes[image, anchor], centres[anchor], strides[anchor]
        overlap = complete_iou(boxes[image, anchor], wanted)
        sides = torch.cat((centre - wanted[:, :2], wanted[:, 2:] - centre), dim=-1) / stride
        focal = distribution_focal_loss(distributions[image, anchor], sides)
        return LossTerms(
            box=self.box_gain * ((1 - overlap) * weight).sum() / normaliser,
            distribution=self.dfl_gain * (focal * weight).sum() / normaliser,
            classes=self.cls_gain * classes / normaliser,
        )


def distribution_focal_loss(distributions: Tensor, sides: Tensor) -> Tensor:
    """Return the distribution focal loss of n boxes, (n,).

    The loss of a box edge is the cross entropy with the two bins around the true distance. The closer bin has the
    larger weight. The loss of a box is the mean over its four edges.
    ``distributions``: (n, 4, bins) logits. ``sides``: (n, 4), true distances in strides, clamped to the range of the
    bins.
    Source: arXiv 2006.04388, equation 6.
    """
    bins = distributions.shape[-1]
    sides = sides.clamp(0, bins - 1 - 0.01)
    lower = sides.floor().long()
    share = sides - lower
    logs = distributions.log_softmax(dim=-1)
    low = logs.gather(-1, lower[..., None])[..., 0]
    high = logs.gather(-1, lower[..., None] + 1)[..., 0]
    return -(low * (1 - share) + high * share).mean(dim=-1)
