# SPDX-License-Identifier: Apache-2.0
"""The schema of `report.json`. None stands for "not available": there is nothing to compute the value from."""

from __future__ import annotations

from typing import Any, TypedDict

# Increase the version when a field changes its meaning or disappears, not for new fields.
SCHEMA_NAME = "fusion_mamba_ros/bag-evaluation"
SCHEMA_VERSION = 1


class Distribution(TypedDict):
    """Summary of a set of values, None without values."""

    count: int
    mean: float | None
    p50: float | None
    p95: float | None
    max: float | None


class BagSection(TypedDict):
    """The evaluated bag. ``problems`` are sentences about what could not be read."""

    path: str
    start_ns: int
    duration_sec: float
    problems: list[str]


class SubjectSection(TypedDict):
    """What was evaluated. ``kind`` is `checkpoint` or `recorded`. ``protocol`` is `coco` or `published`."""

    kind: str
    checkpoint: str | None
    detections_topic: str | None
    device: str | None
    precision: str | None
    engine: str | None
    tiles: str | None
    class_names: list[str]
    score_threshold: float
    protocol: str


class GroundTruthSection(TypedDict):
    """The ground truth. ``matched`` of its ``frames`` have a camera frame within ``tolerance_ms``.

    ``digest`` is the same for two runs if and only if their true boxes are, also those of unknown classes.
    """

    source: str
    kind: str
    frames: int
    boxes: int
    matched: int
    duplicates: int
    tolerance_ms: float
    unknown_classes: dict[str, int]
    digest: str


class CameraSection(TypedDict):
    """One camera: the frames of the bag and their outcomes. ``frames`` is the sum of the counts after ``period_ms``."""

    topic: str
    frames: int
    period_ms: float | None
    paired: int
    alone: int
    unpaired: int
    late: int
    refused: int
    corrupt: int
    frozen: int


class ModeSection(TypedDict):
    """One mode of operation. ``share_of_time`` is the share of the drive that its frames cover."""

    frames: int
    share_of_frames: float
    share_of_time: float


class ClassAccuracy(TypedDict):
    """Accuracy of one class. AP, precision and recall are None without a true box of the class."""

    AP: float | None
    AP50: float | None
    AP75: float | None
    boxes: int
    true_positives: int
    false_positives: int
    false_negatives: int
    precision: float | None
    recall: float | None


class Accuracy(TypedDict):
    """Accuracy on a set of evaluated frames. Precision, recall and counts are at the operating threshold, IoU 0.5."""

    frames: int
    boxes: int
    mAP: float | None
    mAP50: float | None
    mAP75: float | None
    precision: float | None
    recall: float | None
    true_positives: int
    false_positives: int
    false_negatives: int
    per_class: dict[str, ClassAccuracy]


class Window(TypedDict):
    """Accuracy in one time window, in seconds since the first frame."""

    from_sec: float
    to_sec: float
    accuracy: Accuracy
    recall_all_frames: float | None
    frames: int
    frames_without_output: int


class Curve(TypedDict):
    """Precision at IoU 0.5 for the recalls 0, 0.01, ..., 1, and the scores that reach them."""

    precision: list[float]
    scores: list[float]


class Histogram(TypedDict):
    """Correct and wrong detections (IoU 0.5) by score, in equal bins from 0 to 1."""

    correct: list[int]
    wrong: list[int]


class RecallAllFrames(TypedDict):
    """Recall over the true boxes of all ground-truth frames. Frames without output count as misses.

    ``found`` and ``boxes`` count the true boxes by class.
    """

    overall: float | None
    per_class: dict[str, float | None]
    found: dict[str, int]
    boxes: dict[str, int]
    frames: int
    frames_without_output: int


class AccuracySection(TypedDict):
    """All accuracy figures. ``curves`` and ``score_histograms`` are by class, over all evaluated frames."""

    overall: Accuracy
    modes: dict[str, Accuracy]
    windows: list[Window]
    recall_all_frames: RecallAllFrames
    curves: dict[str, Curve]
    score_histograms: dict[str, Histogram]


class OutputSection(TypedDict):
    """Frames that should have an output (RGB frames, and thermal frames alone) and the gaps between the outputs."""

    expected: int
    with_output: int
    share_without_output: float | None
    longest_gap_sec: float | None


class LiveSection(TypedDict):
    """Simulation of a node of the measured speed at ``speed`` times the recorded rate."""

    speed: float
    results: int
    dropped: int
    share_dropped: float | None
    latency_ms: Distribution
    longest_gap_sec: float | None
    recall_all_frames: RecallAllFrames | None


class Criterion(TypedDict):
    """One criterion of the gate. ``excess`` is how far the value is on the wrong side of the limit, else 0."""

    name: str
    relation: str
    limit: float
    value: float | None
    passed: bool
    excess: float | None


class GateSection(TypedDict):
    """Result of the gate. ``result`` is `passed`, `failed` or `not_evaluated`."""

    scenario: str
    result: str
    criteria: list[Criterion]


class Report(TypedDict):
    """Content of `report.json`."""

    schema: str
    version: int
    bag: BagSection
    subject: SubjectSection
    ground_truth: GroundTruthSection | None
    cameras: dict[str, CameraSection]
    pairs: int
    clock_jumps: int
    offset_ms: Distribution
    modes: dict[str, ModeSection]
    outcomes: dict[str, Any]
    detections: dict[str, Any]
    output: OutputSection
    accuracy: AccuracySection | None
    timing_ms: dict[str, Distribution]
    frames_per_second: float | None
    live: list[LiveSection]
    gate: GateSection | None
