# SPDX-License-Identifier: Apache-2.0
"""Compute COCO detection metrics with pycocotools, with up to 300 detections per image."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.evaluation.detection_results import DetectionResults

if TYPE_CHECKING:
    from pycocotools.cocoeval import COCOeval

MAX_DETECTIONS = 300
RECALLS = np.linspace(0.0, 1.0, 101)
_AREAS = ("all", "small", "medium", "large")
_IOU_50, _IOU_75 = 0, 5  # positions among 0.50, 0.55, ..., 0.95


@dataclass(frozen=True)
class PrecisionRecall:
    """Precision at IoU 0.5 for the 101 recalls of ``RECALLS``, and the score at which each recall is reached."""

    precision: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]


@dataclass(frozen=True)
class ClassMetrics:
    """Average precision of one class, None if the data has no box of it. ``boxes`` is the number of true boxes."""

    ap: float | None
    ap50: float | None
    ap75: float | None
    boxes: int
    curve: PrecisionRecall | None = None


@dataclass(frozen=True)
class DetectionMetrics:
    """COCO metrics in [0, 1]. A metric is None if the data has no true box for it.

    ``map`` is the mean over IoU 0.50 to 0.95 in steps of 0.05 and over the classes that occur. ``map_small``,
    ``map_medium`` and ``map_large`` use true boxes below 32², up to 96² and above 96² pixels of the reference image.
    ``recall`` is the mean recall with all 300 detections.
    """

    map: float | None
    map50: float | None
    map75: float | None
    map_small: float | None
    map_medium: float | None
    map_large: float | None
    recall: float | None
    per_class: dict[str, ClassMetrics]
    images: int
    boxes: int

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics under their usual names as plain values for JSON."""
        return {
            "mAP": self.map,
            "mAP50": self.map50,
            "mAP75": self.map75,
            "mAP_small": self.map_small,
            "mAP_medium": self.map_medium,
            "mAP_large": self.map_large,
            "mAR": self.recall,
            "per_class": {
                name: {"AP": item.ap, "AP50": item.ap50, "AP75": item.ap75, "boxes": item.boxes}
                for name, item in self.per_class.items()
            },
            "images": self.images,
            "boxes": self.boxes,
        }


def measure(results: DetectionResults) -> DetectionMetrics:
    """Return the COCO metrics of ``results``. Prints nothing."""
    evaluator = run_coco_evaluation(results)
    # Axes of precision: IoU, recall, class, area, detection limit. recall has no recall axis. -1: no true box.
    precision, recall = evaluator.eval["precision"][..., -1], evaluator.eval["recall"][..., -1]
    scores = evaluator.eval["scores"][..., -1]
    labels = np.concatenate([np.zeros(0, np.int64), *(image.truth_labels for image in results.images)])
    counts = np.bincount(labels, minlength=len(results.class_names))
    per_class = {}
    for index, name in enumerate(results.class_names):
        of_class = precision[:, :, index, 0]
        curve = PrecisionRecall(of_class[_IOU_50], scores[_IOU_50, :, index, 0]) if counts[index] else None
        per_class[name] = ClassMetrics(
            _mean(of_class), _mean(of_class[_IOU_50]), _mean(of_class[_IOU_75]), int(counts[index]), curve
        )
    by_area = [_mean(precision[:, :, :, area]) for area in range(len(_AREAS))]
    return DetectionMetrics(
        map=by_area[0],
        map50=_mean(precision[_IOU_50, :, :, 0]),
        map75=_mean(precision[_IOU_75, :, :, 0]),
        map_small=by_area[1],
        map_medium=by_area[2],
        map_large=by_area[3],
        recall=_mean(recall[:, :, 0]),
        per_class=per_class,
        images=len(results.images),
        boxes=len(labels),
    )


def require_packages() -> None:
    """Raise ``ImportError`` with a one-sentence message if pycocotools or matplotlib is missing.

    Call this before an evaluation, so that a missing package does not waste the work.
    """
    missing = [name for name in ("pycocotools", "matplotlib") if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f"evaluation needs {' and '.join(missing)}: pip install {' '.join(missing)}")


def run_coco_evaluation(results: DetectionResults) -> COCOeval:
    """Return the pycocotools evaluator after ``evaluate`` and ``accumulate``. Image and class ids start at 1."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images = [{"id": index + 1} for index in range(len(results.images))]
    categories = [{"id": index + 1, "name": name} for index, name in enumerate(results.class_names)]
    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for index, image in enumerate(results.images):
        truth += _annotations(index, len(truth), image.truth_boxes, image.truth_labels)
        detections = image.detections
        found += _annotations(index, len(found), detections.boxes, detections.labels, detections.scores)
    with contextlib.redirect_stdout(io.StringIO()):
        datasets = []
        for annotations in (truth, found):
            dataset = COCO()
            dataset.dataset = {"images": images, "categories": categories, "annotations": annotations}
            dataset.createIndex()
            datasets.append(dataset)
        evaluator = COCOeval(*datasets, iouType="bbox")
        evaluator.params.maxDets = [1, 10, MAX_DETECTIONS]
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator


def _annotations(
    image: int,
    first_id: int,
    boxes: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    scores: npt.NDArray[np.float32] | None = None,
) -> list[dict[str, Any]]:
    corners = np.asarray(boxes, np.float64)
    rows = np.column_stack([corners[:, :2], corners[:, 2:] - corners[:, :2]]).tolist()
    annotations = []
    for offset, (row, label) in enumerate(zip(rows, labels.tolist(), strict=True)):
        annotation = {
            "id": first_id + offset + 1,
            "image_id": image + 1,
            "category_id": label + 1,
            "bbox": row,
            "area": row[2] * row[3],
            "iscrowd": 0,
        }
        if scores is not None:
            annotation["score"] = float(scores[offset])
        annotations.append(annotation)
    return annotations


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    counted = values[values > -1]
    return float(counted.mean()) if counted.size else None
