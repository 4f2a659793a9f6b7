# SPDX-License-Identifier: Apache-2.0
"""Evaluate one bag: collect the detections, compare them with ground truth, build the report, apply the gate."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fusion_mamba_ros.bags.bag_reading import Bag
from fusion_mamba_ros.evaluation.bag_evaluation.collected_frame import CollectedBag
from fusion_mamba_ros.evaluation.bag_evaluation.frame_record import FrameRecord
from fusion_mamba_ros.evaluation.bag_evaluation.ground_truth import GroundTruth
from fusion_mamba_ros.evaluation.bag_evaluation.ground_truth_sources import read_ground_truth
from fusion_mamba_ros.evaluation.bag_evaluation.image_topics import find_image_topics
from fusion_mamba_ros.evaluation.bag_evaluation.match_table import MatchTable
from fusion_mamba_ros.evaluation.bag_evaluation.options import BagEvaluationOptions
from fusion_mamba_ros.evaluation.bag_evaluation.recorded_detections import collect_recorded
from fusion_mamba_ros.evaluation.bag_evaluation.report import build_report
from fusion_mamba_ros.evaluation.bag_evaluation.report_schema import BagSection, Report, SubjectSection
from fusion_mamba_ros.evaluation.bag_evaluation.scenario import Scenario, check_against_classes, judge
from fusion_mamba_ros.evaluation.bag_evaluation.scored_frame import ScoredFrame
from fusion_mamba_ros.evaluation.bag_evaluation.scoring import score
from fusion_mamba_ros.perception.atomic_write import write_atomically
from fusion_mamba_ros.perception.registration import Homography, read_homography
from fusion_mamba_ros.perception.tiling import Tiling
from fusion_mamba_ros.streams.pairing_limits import PairingLimits

if TYPE_CHECKING:
    from fusion_mamba_ros.perception.predictor import Predictor

REPORT_FILE, FRAMES_FILE, MATCHES_FILE = "report.json", "frames.jsonl", "matches.npz"


@dataclass(frozen=True, eq=False)
class BagEvaluation:
    """The evaluation of one bag: its report, the record of every frame and the matches of the evaluated frames.

    ``homography`` maps thermal to RGB, None if it is not known. ``image_size`` (width, height) is that of the RGB
    images, None without one.
    """

    report: Report
    records: list[FrameRecord]
    table: MatchTable
    homography: Homography | None = None
    image_size: tuple[int, int] | None = None

    def files(self) -> dict[str, bytes]:
        """Return the content of the files by name: `frames.jsonl`, `matches.npz` and `report.json`."""
        matches = io.BytesIO()
        np.savez_compressed(matches, **self.table.arrays())  # type: ignore[arg-type]
        return {
            FRAMES_FILE: "".join(f"{record.to_json()}\n" for record in self.records).encode(),
            MATCHES_FILE: matches.getvalue(),
            REPORT_FILE: (json.dumps(self.report, indent=1) + "\n").encode(),
        }

    def write(self, folder: Path) -> None:
        """Write the files to ``folder``, `report.json` last."""
        write_files(folder, self.files())


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    """Write ``files`` by name to ``folder``, in their order."""
    for name, data in files.items():
        write_atomically(folder / name, data, durable=name == REPORT_FILE)


def evaluate_bag(
    path: Path,
    options: BagEvaluationOptions,
    *,
    load_predictor: Callable[[], Predictor],
    scenario: Scenario | None = None,
    on_total: Callable[[int], None] = lambda messages: None,
    on_progress: Callable[[int], None] = lambda messages: None,
    on_collected: Callable[[CollectedBag], None] = lambda collected: None,
    on_scored: Callable[[ScoredFrame], None] = lambda frame: None,
) -> BagEvaluation:
    """Return the evaluation of the bag at ``path``.

    ``load_predictor`` is called only if a detector runs. ``on_total`` receives the number of image messages,
    ``on_progress`` the number of those read so far, ``on_collected`` the detections before they are scored, and
    ``on_scored`` each frame with output, in the order of the stamps. What cannot be read becomes a sentence in the
    report; if nothing can be evaluated, this raises `BagError`, `GroundTruthError`, `ScenarioError` or another
    ``ValueError``.
    """
    limits = PairingLimits(
        max_offset_ns=round(options.max_offset_sec * 1e9),
        thermal_offset_ns=round(options.thermal_offset_sec * 1e9),
        timeout_ns=round(options.timeout_sec * 1e9),
    )
    topics = {"rgb": options.rgb_topic, "thermal": options.thermal_topic}
    with ExitStack() as stack:
        bag = stack.enter_context(Bag(path))
        problems: list[str] = []
        truth = None
        if options.ground_truth is not None:
            truth = read_ground_truth(options.ground_truth, bag, problems, topic=options.ground_truth_topic)
        on_total(sum(bag.topics[topic].count for topic in find_image_topics(bag, topics, []).values()))
        if options.detections is not None:
            other = stack.enter_context(Bag(options.detections_bag)) if options.detections_bag else bag
            collected, subject = _recorded(bag, other, options, topics, limits, truth, on_progress)
            registration = options.detector.registration
            homography = None if registration is None else read_homography(registration)
        else:
            predictor = load_predictor()
            collected, subject = _predicted(bag, options, topics, limits, predictor, scenario, on_progress)
            homography = predictor.homography
        bag_section: BagSection = {
            "path": str(path),
            "start_ns": bag.start_ns,
            "duration_sec": round(bag.duration_ns * 1e-9, 6),
            "problems": list(dict.fromkeys((*collected.problems, *problems))),
        }
    if scenario is not None:
        check_against_classes(scenario, collected.class_names)
    on_collected(collected)
    tolerance_ns = None if options.tolerance_sec is None else options.tolerance_sec * 1e9
    scored = score(
        collected, truth, score_threshold=subject["score_threshold"], tolerance_ns=tolerance_ns, on_scored=on_scored
    )
    bag_section["problems"] += _ground_truth_problems(scored.truth, scored.matched, scored.unknown_classes or {})
    report = build_report(
        collected,
        scored,
        bag_section=bag_section,
        subject=subject,
        speeds=options.speeds,
        window_sec=options.window_sec,
    )
    if scenario is not None:
        report["gate"] = judge(scenario, report)
    return BagEvaluation(report, scored.records, scored.table, homography, collected.image_size)


def _recorded(
    bag: Bag,
    other: Bag,
    options: BagEvaluationOptions,
    topics: dict[str, str],
    limits: PairingLimits,
    truth: GroundTruth | None,
    on_progress: Callable[[int], None],
) -> tuple[CollectedBag, SubjectSection]:
    assert options.detections is not None
    collected = collect_recorded(
        bag,
        options.detections,
        topics,
        detections_bag=other,
        limits=limits,
        more_classes=() if truth is None else truth.class_names,
        on_progress=on_progress,
    )
    threshold = collected.recorded_threshold if options.score_threshold is None else options.score_threshold
    return collected, {
        "kind": "recorded",
        "checkpoint": None,
        "detections_topic": options.detections,
        "device": None,
        "precision": None,
        "engine": None,
        "tiles": None,
        "class_names": list(collected.class_names),
        "score_threshold": 0.0 if threshold is None else threshold,
        "protocol": "published",
    }


def _predicted(
    bag: Bag,
    options: BagEvaluationOptions,
    topics: dict[str, str],
    limits: PairingLimits,
    predictor: Predictor,
    scenario: Scenario | None,
    on_progress: Callable[[int], None],
) -> tuple[CollectedBag, SubjectSection]:
    # Import here, because recorded detections can be scored on machines without torch.
    from fusion_mamba_ros.evaluation.bag_evaluation.prediction import PredictionOptions, collect_predictions
    from fusion_mamba_ros.evaluation.evaluate import PROTOCOL

    if scenario is not None:
        check_against_classes(scenario, tuple(predictor.class_names))
    collected = collect_predictions(
        bag,
        predictor,
        PredictionOptions(
            topics,
            predictor.thresholds,
            PROTOCOL if options.protocol == "coco" else None,
            limits,
            round(options.freeze_timeout_sec * 1e9),
        ),
        on_progress=on_progress,
    )
    detector, checkpoint = options.detector, options.detector.checkpoint
    return collected, {
        "kind": "checkpoint",
        "checkpoint": None if checkpoint is None else str(checkpoint),
        "detections_topic": None,
        "device": str(predictor.device),
        "precision": predictor.engine.precision,
        "engine": predictor.engine.name,
        "tiles": f"{detector.tiles}, overlap {detector.tile_overlap:g}" if detector.tiles else None,
        "class_names": list(predictor.class_names),
        "score_threshold": predictor.thresholds.score_threshold,
        "protocol": options.protocol,
    }


def load_predictor(options: BagEvaluationOptions) -> Predictor:
    """Return the predictor of ``options``, with the thresholds of the node. Raises ``ValueError`` with one sentence."""
    from fusion_mamba_ros.perception.default_checkpoint import default_checkpoint
    from fusion_mamba_ros.perception.predictor import Predictor

    detector = options.detector
    predictor = Predictor.from_checkpoint(
        detector.checkpoint or default_checkpoint(engine=detector.engine),
        detector.device,
        detector.precision,
        engine=detector.engine,
        threads=detector.threads,
        homography=None if detector.registration is None else read_homography(detector.registration),
        stream=True,
        tiling=Tiling.parse(detector.tiles, detector.tile_overlap),
    )
    if options.score_threshold is not None:
        predictor.change(score_threshold=options.score_threshold)
    predictor.warm_up()
    return predictor


def _ground_truth_problems(truth: GroundTruth | None, matched: int, unknown: dict[str, int]) -> list[str]:
    if truth is None:
        return []
    sentences = []
    if truth.duplicates:
        sentences.append(f"{truth.duplicates} frames of the ground truth repeat a stamp and are left out")
    if unknown:
        counts = ", ".join(f"{count} {name}" for name, count in unknown.items())
        sentences.append(f"boxes of classes that the detector lacks are in the ground truth but in no figure: {counts}")
    if not matched:
        sentences.append("no ground truth has a frame within the tolerance: compare their stamps, or set --tolerance")
    return sentences
