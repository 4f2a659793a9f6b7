# SPDX-License-Identifier: Apache-2.0
"""Estimate the uncertainty of an mAP50 difference between two detectors with a paired bootstrap over their images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.evaluation.detection_metrics import MAX_DETECTIONS, RECALLS, run_coco_evaluation
from fusion_mamba_ros.evaluation.detection_results import DetectionResults

_BLOCK = 2_000_000  # maximum number of elements in one working array


@dataclass(frozen=True)
class PairedComparison:
    """mAP50 of two detectors on the same images, and the difference ``second - first`` with its interval.

    ``low`` and ``high`` bound the central ``confidence`` share of the bootstrap differences. ``share_above_zero`` is
    the share of bootstrap samples in which the second detector has the higher mAP50.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    confidence: float
    share_above_zero: float
    samples: int
    images: int


def compare_map50(
    first: DetectionResults,
    second: DetectionResults,
    *,
    samples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> PairedComparison:
    """Return the mAP50 difference between two detectors with its bootstrap interval.

    The bootstrap draws images with replacement. Both detectors get the same images in each sample. Raises
    ``ValueError`` if the results differ in images, true boxes or classes, or have no true box.
    """
    if first.class_names != second.class_names:
        raise ValueError(
            f"the results have different classes ({', '.join(first.class_names)}; {', '.join(second.class_names)}): "
            "evaluate both on the same data"
        )
    order = {image.name: index for index, image in enumerate(second.images)}
    lone = {image.name for image in first.images} ^ set(order)
    if lone:
        raise ValueError(
            f"{len(lone)} images are in only one of the results, first {min(lone)!r}: evaluate both on the same data"
        )
    aligned = DetectionResults(
        second.class_names, second.mode, tuple(second.images[order[image.name]] for image in first.images)
    )
    for one, other in zip(first.images, aligned.images, strict=True):
        if not (
            np.array_equal(one.truth_boxes, other.truth_boxes) and np.array_equal(one.truth_labels, other.truth_labels)
        ):
            raise ValueError(
                f"image {one.name!r} has different true boxes in the results: evaluate both on the same data"
            )
    count = len(first.images)
    whole = np.ones((1, count))
    tables = [MatchTable(results) for results in (first, aligned)]
    first_map, second_map = (float(table.map50(whole)[0]) for table in tables)
    if np.isnan(first_map):
        raise ValueError("there is no true box in the images: nothing to compare")
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=samples).astype(np.float64)
    differences = tables[1].map50(draws) - tables[0].map50(draws)
    differences = differences[np.isfinite(differences)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(differences, [tail, 1 - tail])
    return PairedComparison(
        first_map,
        second_map,
        second_map - first_map,
        float(low),
        float(high),
        confidence,
        float((differences > 0).mean()),
        samples,
        count,
    )


class MatchTable:
    """Table of the detections of each class that are correct at IoU 0.5, in descending order of score.

    COCO matches each image separately, so the matches stay valid for any selection of images. A bootstrap sample needs
    only new counts.
    """

    def __init__(self, results: DetectionResults) -> None:
        evaluator = run_coco_evaluation(results)
        images, areas = len(results.images), len(evaluator.params.areaRng)
        self.truth_counts = np.zeros((len(results.class_names), images))
        self.classes: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]] = []
        for label in range(len(results.class_names)):
            owners, scores, correct = [np.zeros(0, np.int64)], [np.zeros(0)], [np.zeros(0, bool)]
            for image in range(images):
                item = evaluator.evalImgs[label * areas * images + image]
                if item is None:
                    continue
                self.truth_counts[label, image] = len(item["gtIds"])
                scores.append(np.array(item["dtScores"][:MAX_DETECTIONS]))
                correct.append(item["dtMatches"][0, :MAX_DETECTIONS] > 0)
                owners.append(np.full(len(scores[-1]), image))
            order = np.argsort(-np.concatenate(scores), kind="mergesort")
            hits = np.concatenate(correct)[order]
            # Recall does not grow after the last correct detection, so later detections do not change the AP.
            end = int(np.flatnonzero(hits)[-1]) + 1 if hits.any() else 0
            self.classes.append((np.concatenate(owners)[order][:end], hits[:end]))

    def map50(self, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return mAP50 (b,) with each image counted ``weights`` (b, images) times. NaN without any true box."""
        precisions = np.full((len(self.classes), len(weights)), np.nan)
        for label, (owners, hits) in enumerate(self.classes):
            block = max(1, _BLOCK // max(1, len(owners)))
            for start in range(0, len(weights), block):
                part = weights[start : start + block]
                precisions[label, start : start + block] = weighted_average_precision(
                    part[:, owners], hits, part @ self.truth_counts[label]
                )
        counted = np.isfinite(precisions)
        sums = np.where(counted, precisions, 0.0).sum(axis=0)
        means: npt.NDArray[np.float64] = np.divide(
            sums, counted.sum(axis=0), out=np.full(len(weights), np.nan), where=counted.any(axis=0)
        )
        return means


def weighted_average_precision(
    weights: npt.NDArray[np.float64], hits: npt.NDArray[np.bool_], truth: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the COCO 101-point average precision (b,) of detections, best first, counted ``weights`` (b, n) times."""
    result = np.where(truth > 0, 0.0, np.nan)
    if not weights.shape[1]:
        return result
    true_positives = np.cumsum(weights * hits, axis=1)
    precision = true_positives / np.maximum(np.cumsum(weights, axis=1), np.finfo(float).tiny)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    for row in np.flatnonzero(truth > 0):
        reached = np.searchsorted(true_positives[row] / truth[row], RECALLS, side="left")
        inside = reached < weights.shape[1]
        result[row] = envelope[row, reached[inside]].sum() / len(RECALLS)
    return result
