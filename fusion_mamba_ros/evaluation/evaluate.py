# SPDX-License-Identifier: Apache-2.0
"""Run a detector on a dataset in each mode and compute its metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy.typing as npt

from fusion_mamba_ros.datasets.problems import DatasetError, UnreadableImageError
from fusion_mamba_ros.datasets.sample import Sample
from fusion_mamba_ros.evaluation.box_matching import confusion_matrix
from fusion_mamba_ros.evaluation.calibration_error import as_deployed, expected_calibration_error, scored_detections
from fusion_mamba_ros.evaluation.detection_metrics import MAX_DETECTIONS, DetectionMetrics, measure, require_packages
from fusion_mamba_ros.evaluation.detection_results import DetectionResults, ImageResult
from fusion_mamba_ros.evaluation.operating_point import OperatingPoint, best_operating_point
from fusion_mamba_ros.perception.detections import Detections, Mode
from fusion_mamba_ros.perception.mode import modalities_in, modalities_of
from fusion_mamba_ros.perception.registration import Homographies, relative_homographies
from fusion_mamba_ros.perception.thresholds import Thresholds

# Evaluation protocol: a very low score threshold as in COCO, and the NMS settings of YOLOv8 validation.
PROTOCOL = Thresholds(score_threshold=0.001, nms_threshold=0.7, max_detections=MAX_DETECTIONS, multi_label=True)

Images = dict[str, npt.NDArray[Any] | None]


class PredictBatch(Protocol):
    """Interface of ``Predictor.predict_batch``.

    It returns the detections of several image pairs, in pixels of ``reference_size`` (width, height).
    """

    def __call__(
        self, batch: Sequence[Images], *, reference_size: tuple[int, int], homography: Homographies
    ) -> list[Detections]:
        """Return the detections of each pair in pixels of the reference camera."""
        ...


class EvaluatedDataset(Protocol):
    """Interface of an evaluated dataset, for example ``PairedDataset`` or ``PreparedDataset``."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes of the true boxes."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each pair."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


@dataclass(frozen=True)
class ModeEvaluation:
    """Evaluation of one mode: its ``results``, the metrics of all images and of each group, and the operating point.

    ``calibration_error``: expected calibration error of the scores, None without detections. ``predict_ms``: mean time
    per image pair for preprocessing, network and NMS.
    """

    results: DetectionResults
    metrics: DetectionMetrics
    groups: dict[str, DetectionMetrics]
    operating_point: OperatingPoint | None
    calibration_error: float | None = None
    predict_ms: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        point = self.operating_point
        values = self.metrics.to_dict()
        values["groups"] = {name: metrics.to_dict() for name, metrics in self.groups.items()}
        values["best_f1"] = None if point is None else vars(point)
        values["expected_calibration_error"] = self.calibration_error
        values["confusion_matrix"] = None
        if point is not None:
            names = [*self.results.class_names, "nothing"]
            counts = confusion_matrix(self.results, point.score_threshold)
            values["confusion_matrix"] = {"rows_true_columns_detected": names, "counts": counts.tolist()}
        values["predict_ms_per_pair"] = round(self.predict_ms, 2)
        return values


@dataclass(frozen=True)
class Evaluation:
    """Result of ``evaluate``: one ``ModeEvaluation`` for each mode.

    ``skipped``: reason for each image pair that could not be read, by name. ``unknown_boxes``: number of true boxes of
    classes that the detector lacks, by class name. These boxes are in no metric.
    """

    modes: dict[Mode, ModeEvaluation]
    skipped: dict[str, str] = field(default_factory=dict)
    unknown_boxes: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `metrics.json`: protocol, modes, skipped pairs and boxes of unknown classes."""
        return {
            "protocol": {
                "score_threshold": PROTOCOL.score_threshold,
                "nms_threshold": PROTOCOL.nms_threshold,
                "max_detections": PROTOCOL.max_detections,
                "iou_thresholds": "0.50:0.05:0.95",
            },
            "modes": {mode.value: item.to_dict() for mode, item in self.modes.items()},
            "skipped": self.skipped,
            "unknown_boxes": self.unknown_boxes,
        }


def evaluate(
    predict_batch: PredictBatch,
    dataset: EvaluatedDataset,
    modes: Sequence[Mode] = (Mode.FUSED, Mode.RGB_ONLY, Mode.THERMAL_ONLY),
    *,
    modalities: Sequence[str] | None = None,
    batch_size: int = 8,
    with_groups: bool = True,
    refuse_unreadable: bool = False,
    on_progress: Callable[[int], None] = lambda count: None,
    unknown_boxes: Mapping[str, int] | None = None,
) -> Evaluation:
    """Return the metrics of a detector on ``dataset`` in each of ``modes``.

    A mode is measured on the pairs that have an image of every modality of the mode. A mode without such pairs is not
    in the result. ``modalities``: modalities of the detector. If None, they are the modalities that ``modes`` name, or
    RGB and thermal if ``modes`` is only `fused`. ``predict_batch`` should use the thresholds of ``PROTOCOL``. Each pair
    is read once for all modes. A batch holds neighbouring pairs of the same size, modalities and homographies.

    A pair that cannot be read is skipped and named in the result. With ``refuse_unreadable`` it raises
    ``UnreadableImageError`` instead. ``on_progress`` receives the number of pairs done. ``unknown_boxes`` is copied to
    the result. Raises ``DatasetError`` if no pair remains.
    """
    require_packages()
    images: dict[Mode, list[ImageResult]] = {mode: [] for mode in modes}
    seconds = dict.fromkeys(modes, 0.0)
    modalities = modalities_in(modes) if modalities is None else modalities
    skipped: dict[str, str] = {}
    for samples, done in _batches(dataset, batch_size, refuse_unreadable, skipped):
        first = samples[0]
        homographies = relative_homographies(first.reference, first.homographies, first.images)
        for mode in modes:
            names = modalities_of(mode, modalities)
            # Pairs of one batch have the same modalities.
            if not set(names) <= first.images.keys():
                continue
            started = time.perf_counter()
            found = predict_batch(
                [
                    {name: sample.images.get(name) if name in names else None for name in modalities}
                    for sample in samples
                ],
                reference_size=first.size,
                # The homography belongs to the data: aligned pairs must not use the homography of the checkpoint.
                homography=homographies,
            )
            seconds[mode] += time.perf_counter() - started
            images[mode] += [
                ImageResult(sample.name, sample.boxes, sample.labels, detections, sample.group)
                for sample, detections in zip(samples, found, strict=True)
            ]
        on_progress(done)
    if not any(images.values()):
        _refuse_nothing(skipped, len(dataset), modes)
    evaluated = {}
    for mode in (mode for mode in modes if images[mode]):
        results = DetectionResults(tuple(dataset.class_names), mode, tuple(images[mode]))
        evaluated[mode] = evaluate_results(results, with_groups, 1e3 * seconds[mode] / len(images[mode]))
    return Evaluation(evaluated, skipped, dict(unknown_boxes or {}))


def evaluate_results(results: DetectionResults, with_groups: bool = True, predict_ms: float = 0.0) -> ModeEvaluation:
    """Return the metrics of existing detections. ``predict_ms`` is copied to the result."""
    groups = {group: measure(results.of_group(group)) for group in (results.groups if with_groups else ())}
    found = scored_detections(as_deployed(results))
    error = expected_calibration_error(found.scores, found.correct)
    return ModeEvaluation(results, measure(results), groups, best_operating_point(results), error, predict_ms)


def _refuse_nothing(skipped: dict[str, str], pairs: int, modes: Sequence[Mode]) -> None:
    if len(skipped) == pairs:
        raise DatasetError(f"no pair could be read; the first: {next(iter(skipped.values()), 'the data set is empty')}")
    names = ", ".join(mode.value for mode in modes)
    raise DatasetError(f"no pair has the images for {names}: choose a mode that the data have images for")


def _batches(
    dataset: EvaluatedDataset, batch_size: int, refuse_unreadable: bool, skipped: dict[str, str]
) -> Iterator[tuple[list[Sample], int]]:
    """Yield batches of neighbouring samples, each with the number of pairs that are done after it."""
    batch: list[Sample] = []
    for index in range(len(dataset)):
        try:
            sample = dataset[index]
        except UnreadableImageError as error:
            if refuse_unreadable:
                raise
            skipped[dataset.names[index]] = str(error)
            continue
        same = batch and _alike(sample, batch[0])
        if batch and (len(batch) == batch_size or not same):
            yield batch, index
            batch = []
        batch.append(sample)
    if batch:
        yield batch, len(dataset)


def _alike(sample: Sample, other: Sample) -> bool:
    """Return whether two samples may share a batch: same size, same modalities, same homographies."""
    matrices, others = sample.homographies, other.homographies
    return (
        sample.size == other.size
        and sample.images.keys() == other.images.keys()
        and matrices.keys() == others.keys()
        and all(matrices[name] is others[name] for name in matrices)
    )
