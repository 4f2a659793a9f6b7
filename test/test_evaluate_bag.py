# SPDX-License-Identifier: Apache-2.0
"""Evaluation of one bag: pairs, skipped frames, tolerance, windows and missing parts."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_bags import (
    BOX,
    CLASS_NAMES,
    FAR_BOX,
    OneBoxDetector,
    boxes,
    rgb,
    stamp,
    thermal,
    write_bag,
)
from evaluation_drive import BOTH, TRUE, TRUTH, drive, evaluate
from rosbags.rosbag2 import StoragePlugin

from fusion_mamba_ros.evaluation.bag_evaluation.frame_record import read_records
from fusion_mamba_ros.evaluation.bag_evaluation.match_table import MatchTable
from fusion_mamba_ros.evaluation.bag_evaluation.report import longest_gap_sec
from fusion_mamba_ros.perception.detections import Detections


def reasons(evaluation: Any) -> Any:
    return evaluation.report["outcomes"]["skipped"]


@pytest.mark.parametrize("plugin", list(StoragePlugin))
def test_every_pair_is_evaluated(tmp_path: Path, plugin: StoragePlugin) -> None:
    evaluation = evaluate(write_bag(tmp_path / "bag", drive(), plugin=plugin))
    report = evaluation.report
    assert report["pairs"] == 10 and report["outcomes"] == {"evaluated": 10, "skipped": {}}
    overall = report["accuracy"]["overall"]
    assert overall["mAP"] == pytest.approx(1.0) and overall["true_positives"] == 10
    # The car is below the operating threshold: no false alarm, and no figure without a true box.
    assert overall["per_class"]["car"] == {
        **dict.fromkeys(("AP", "AP50", "AP75", "precision", "recall")),
        **dict.fromkeys(("boxes", "true_positives", "false_positives", "false_negatives"), 0),
    }
    assert report["accuracy"]["recall_all_frames"]["per_class"] == {"person": 1.0, "car": None}
    assert report["modes"]["fused"] == {"frames": 10, "share_of_frames": 1.0, "share_of_time": 1.0}
    assert [record.worst_iou for record in evaluation.records] == [1.0] * 10
    assert report["bag"]["problems"] == []


def test_average_precision_uses_all_detections_and_the_counts_those_of_the_node(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "bag", drive(truth=BOTH))
    found = {name: evaluate(path, protocol=name).report["accuracy"]["overall"] for name in ("coco", "published")}
    # The car is found with a score of 0.1, below the operating threshold.
    assert found["coco"]["per_class"]["car"]["AP"] == pytest.approx(1.0)
    assert found["published"]["per_class"]["car"]["AP"] == 0.0
    for overall in found.values():
        assert overall["per_class"]["car"]["false_negatives"] == 10 and overall["recall"] == 0.5


def test_windows_hold_the_frames_of_their_time(tmp_path: Path) -> None:
    # 25 frames of 0.1 s. From frame 10 on, the true box is elsewhere: the box found is a false alarm.
    messages = []
    for index in range(25):
        truth = TRUE if index < 10 else [("person", FAR_BOX, 1.0)]
        messages += [rgb(index), thermal(index), boxes(TRUTH, index, truth)]
    report = evaluate(write_bag(tmp_path / "bag", messages), window_sec=1.0).report
    windows = report["accuracy"]["windows"]
    assert [(item["from_sec"], item["to_sec"], item["frames"]) for item in windows] == [
        (0.0, 1.0, 10),
        (1.0, 2.0, 10),
        (2.0, 2.4, 5),
    ]
    assert [item["accuracy"]["mAP50"] for item in windows] == pytest.approx([1.0, 0.0, 0.0])
    assert [item["recall_all_frames"] for item in windows] == [1.0, 0.0, 0.0]
    # All scores are equal, so the correct detections come first: precision 1 up to recall 0.4 (41 of 101 points).
    assert report["accuracy"]["overall"]["mAP50"] == pytest.approx(41 / 101)


def test_the_tolerance_is_a_quarter_of_the_median_period(tmp_path: Path) -> None:
    messages = []
    for index in range(8):
        late = 0.24 if index % 2 else 0.26
        messages += [rgb(index), thermal(index), boxes(TRUTH, index + late, TRUE)]
    path = write_bag(tmp_path / "bag", messages)
    evaluation = evaluate(path)
    assert evaluation.report["ground_truth"]["tolerance_ms"] == 25.0
    assert evaluation.report["outcomes"] == {"evaluated": 4, "skipped": {"no_frame": 4, "no_ground_truth": 4}}
    assert evaluate(path, tolerance_sec=0.03).report["outcomes"]["evaluated"] == 8


def test_frames_without_output_count_as_misses_in_the_recall_over_all_frames(tmp_path: Path) -> None:
    # Thermal has every second frame only: the other RGB frames are unpaired and have no output.
    messages = []
    for index in range(19):
        messages.append(rgb(index))
        if index % 2 == 0:
            messages.append(thermal(index))
        messages.append(boxes(TRUTH, index, TRUE))
    evaluation = evaluate(write_bag(tmp_path / "bag", messages))
    report = evaluation.report
    assert report["outcomes"] == {"evaluated": 10, "skipped": {"unpaired": 9}}
    assert report["accuracy"]["overall"]["recall"] == 1.0
    assert report["accuracy"]["recall_all_frames"] == {
        "overall": 10 / 19,
        "per_class": {"person": 10 / 19, "car": None},
        "found": {"person": 10, "car": 0},
        "boxes": {"person": 19, "car": 0},
        "frames": 19,
        "frames_without_output": 9,
    }
    assert report["output"]["share_without_output"] == 9 / 19 and report["output"]["longest_gap_sec"] == 0.2
    assert evaluation.records[1].false_negatives == {"person": 1}


def test_without_thermal_the_detector_runs_on_rgb_alone(tmp_path: Path) -> None:
    report = evaluate(write_bag(tmp_path / "bag", drive(12, cameras=(rgb,)))).report
    assert set(report["modes"]) == {"rgb_only"}
    assert (
        report["cameras"]["rgb"]["alone"] == report["cameras"]["rgb"]["frames"] - report["cameras"]["rgb"]["unpaired"]
    )
    assert "no images of the thermal camera on '/thermal/image_raw'" in report["bag"]["problems"][0]


def test_without_ground_truth_there_are_no_accuracy_figures_and_all_the_others(tmp_path: Path) -> None:
    report = evaluate(write_bag(tmp_path / "bag", drive()), ground_truth=None).report
    assert report["accuracy"] is None and report["ground_truth"] is None
    assert report["outcomes"] == {"evaluated": 0, "skipped": {"no_ground_truth": 10}}
    assert report["detections"] == {"total": 10, "per_class": {"person": 10, "car": 0}}
    assert report["live"][0]["results"] == 10 and report["live"][0]["recall_all_frames"] is None


def test_a_failed_inference_costs_its_frame_only(tmp_path: Path) -> None:
    evaluation = evaluate(write_bag(tmp_path / "bag", drive()), detector=OneBoxDetector(fail_at=3))
    assert reasons(evaluation) == {"failed": 1}
    record = evaluation.records[3]
    assert record.message == "inference failed: the stand-in was asked to fail" and not record.has_output
    assert evaluation.report["accuracy"]["recall_all_frames"]["overall"] == 0.9


def test_ground_truth_of_other_classes_gives_no_figure(tmp_path: Path) -> None:
    report = evaluate(write_bag(tmp_path / "bag", drive(truth=[("dog", BOX, 1.0)]))).report
    overall = report["accuracy"]["overall"]
    assert overall["mAP"] is None and overall["precision"] is None and overall["recall"] is None
    assert report["ground_truth"]["unknown_classes"] == {"dog": 10}
    assert "detector lacks are in the ground truth but in no figure: 10 dog" in report["bag"]["problems"][0]


def test_ground_truth_far_from_every_frame_is_said(tmp_path: Path) -> None:
    messages = [*drive(5, cameras=(rgb, thermal), truth=[]), boxes("/labels", 100, TRUE, received_ns=stamp(5))]
    report = evaluate(write_bag(tmp_path / "bag", messages), ground_truth="/labels").report
    assert "no ground truth has a frame within the tolerance" in report["bag"]["problems"][0]
    assert report["accuracy"]["overall"]["mAP"] is None
    assert report["accuracy"]["recall_all_frames"]["overall"] == 0.0


def test_an_interrupt_and_an_error_of_the_detector_end_all_threads(tmp_path: Path) -> None:
    class Interrupted(OneBoxDetector):
        error: BaseException

        def predict_for(self, *arguments: Any, **options: Any) -> list[Detections]:
            if len(self.seen) == 2:
                raise self.error
            return super().predict_for(*arguments, **options)

    path = write_bag(tmp_path / "bag", drive(200))
    before = threading.active_count()
    for error in (KeyboardInterrupt(), TypeError("a bug")):
        detector = Interrupted()
        detector.error = error
        with pytest.raises(type(error)):
            evaluate(path, detector=detector)
        assert threading.active_count() == before


def test_the_files_hold_what_was_evaluated(tmp_path: Path) -> None:
    evaluation = evaluate(write_bag(tmp_path / "bag", drive()))
    evaluation.write(tmp_path / "out")
    assert json.loads((tmp_path / "out/report.json").read_text()) == json.loads(json.dumps(evaluation.report))
    assert list(read_records(tmp_path / "out/frames.jsonl")) == evaluation.records
    with np.load(tmp_path / "out/matches.npz") as arrays:
        table = MatchTable.from_arrays(dict(arrays))
    assert table.class_names == CLASS_NAMES and table.frames == 10
    (tmp_path / "out/frames.jsonl").write_text('{"index": 0}\n')
    with pytest.raises(ValueError, match=r"frames.jsonl' line 1: not a frame record"):
        list(read_records(tmp_path / "out/frames.jsonl"))


@pytest.mark.parametrize(
    ("expected", "outputs", "gap"), [([], [], None), ([0, 5], [], 5e-9), ([0, 10], [4], 6e-9), ([0, 9], [0, 9], 9e-9)]
)
def test_the_longest_gap_counts_from_the_first_expected_result_to_the_last(
    expected: list[int], outputs: list[int], gap: float | None
) -> None:
    assert longest_gap_sec(expected, outputs) == (None if gap is None else round(gap, 6))
