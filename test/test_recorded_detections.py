# SPDX-License-Identifier: Apache-2.0
"""Evaluation of detections that a bag holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest
from evaluation_bags import BOX, FAR_BOX, PERIOD_NS, Message, boxes, rgb, stamp, thermal, write_bag

from fusion_mamba_ros.bags.bag_reading import BagError
from fusion_mamba_ros.evaluation.bag_evaluation.evaluate_bag import evaluate_bag
from fusion_mamba_ros.evaluation.bag_evaluation.options import BagEvaluationOptions

FOUND = [("person", BOX, 0.9)]
TRUE = [("person", BOX, 1.0)]
DETECTIONS, TRUTH = "/detections", "/ground_truth"
INFO = Message("/label_info", stamp(0), {0: "person", 1: "car"})
DELAY_NS = 40_000_000


def refuse() -> NoReturn:
    raise AssertionError("recorded detections need no detector")


def evaluate(path: Path, **options: Any) -> Any:
    options = {"detections": DETECTIONS, "ground_truth": TRUTH, **options}
    return evaluate_bag(path, BagEvaluationOptions(**options), load_predictor=refuse)


def found(index: int, rows: Any = FOUND, delay_ns: int = DELAY_NS) -> Message:
    return boxes(DETECTIONS, index, rows, received_ns=stamp(index) + delay_ns)


def test_arrays_are_scored_and_the_frames_without_an_array_are_dropped(tmp_path: Path) -> None:
    messages = [INFO]
    for index in range(20):
        # The cameras deliver 10 ms after the stamp. Every fourth frame was dropped by the vehicle.
        options = {"received_ns": stamp(index) + 10_000_000}
        messages += [rgb(index, **options), thermal(index, **options), boxes(TRUTH, index, TRUE)]
        if index % 4:
            messages.append(found(index))
    report = evaluate(write_bag(tmp_path / "bag", messages)).report
    assert report["outcomes"] == {"evaluated": 15, "skipped": {"dropped": 5}}
    assert report["accuracy"]["overall"]["recall"] == 1.0
    assert report["accuracy"]["recall_all_frames"]["overall"] == 0.75
    assert report["timing_ms"]["latency"] == {"count": 15, "mean": 40.0, "p50": 40.0, "p95": 40.0, "max": 40.0}
    assert report["timing_ms"]["publish"]["max"] == 30.0
    assert report["subject"]["class_names"] == ["person", "car"] and report["subject"]["score_threshold"] == 0.25
    assert report["accuracy"]["overall"]["per_class"]["car"]["AP"] is None
    assert report["live"] == [] and report["frames_per_second"] is None
    assert report["output"]["share_without_output"] == 0.25 and report["output"]["longest_gap_sec"] == 0.2


def test_a_bag_of_arrays_alone_gives_a_frame_for_each(tmp_path: Path) -> None:
    messages = [found(index, [("1", FAR_BOX, 0.5), ("person", BOX, 0.9)]) for index in range(5)]
    labels = [boxes(TRUTH, index, [("car", FAR_BOX, 1.0)]) for index in range(6)]
    path = write_bag(tmp_path / "bag", [INFO, *messages, *labels])
    report = evaluate(path).report
    # The class is a number of the label info. The person is a false alarm.
    overall = report["accuracy"]["overall"]
    assert overall["per_class"]["car"]["true_positives"] == 5 and overall["false_positives"] == 5
    assert overall["per_class"]["person"]["precision"] is None
    assert report["outcomes"] == {"evaluated": 5, "skipped": {"no_frame": 1}}
    assert "no images of the rgb camera" in report["bag"]["problems"][0]


def test_arrays_in_another_bag_belong_to_the_frames_of_this_one(tmp_path: Path) -> None:
    source = [message for index in range(6) for message in (rgb(index), thermal(index), boxes(TRUTH, index, TRUE))]
    cameras = write_bag(tmp_path / "cameras", source)
    recorded = write_bag(tmp_path / "recorded", [found(index) for index in range(6)])
    report = evaluate(cameras, detections_bag=recorded).report
    assert report["outcomes"]["evaluated"] == 6 and report["bag"]["problems"] == []
    with pytest.raises(BagError, match=r"no messages on topic '/detections'.*detection arrays are on /ground_truth"):
        evaluate(cameras)


def test_repeated_arrays_and_damaged_arrays_and_unknown_frames_at_once(tmp_path: Path) -> None:
    messages = []
    for index in range(10):
        messages += [rgb(index), thermal(index), found(index), boxes(TRUTH, index, TRUE)]
    messages += [found(3, []), found(4, [("cat", BOX, 0.8)])]
    messages.append(boxes(DETECTIONS, 50, FOUND, received_ns=stamp(11)))
    messages.append(boxes(DETECTIONS, 51, [("person", (float("nan"),) * 4, 0.9)], received_ns=stamp(12)))
    report = evaluate(write_bag(tmp_path / "bag", messages)).report
    assert report["outcomes"] == {"evaluated": 10, "skipped": {"no_ground_truth": 2}}
    assert report["accuracy"]["overall"]["recall"] == 1.0
    assert "2 arrays repeat the stamp of an earlier array" in " ".join(report["bag"]["problems"])


def test_a_wrong_topic_names_those_that_hold_detections(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "bag", [rgb(0), boxes("/found", 0, FOUND)])
    with pytest.raises(BagError, match=r"holds sensor_msgs/msg/Image: expected vision_msgs.*arrays are on /found"):
        evaluate(path, detections="/rgb/image_raw", ground_truth=None)


def test_scores_below_the_threshold_are_left_out(tmp_path: Path) -> None:
    messages = [
        message for index in range(4) for message in (found(index, [("person", BOX, 0.3)]), boxes(TRUTH, index, TRUE))
    ]
    path = write_bag(tmp_path / "bag", messages)
    assert evaluate(path).report["accuracy"]["overall"]["recall"] == 1.0
    assert evaluate(path, score_threshold=0.5).report["accuracy"]["overall"]["recall"] == 0.0


def test_recorded_detections_are_scored_without_torch(tmp_path: Path) -> None:
    messages = [
        message
        for index in range(3)
        for message in (rgb(index), thermal(index), found(index), boxes(TRUTH, index, TRUE))
    ]
    path = write_bag(tmp_path / "bag", messages)
    script = f"""
import sys
sys.modules["torch"] = None
from fusion_mamba_ros.cli import app
app(["eval-bag", {str(path)!r}, "--detections", "/detections", "--ground-truth", "/ground_truth",
     "--out", {str(tmp_path / "out")!r}])
"""
    root = Path(__file__).resolve().parents[1]
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=root, timeout=120)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out/report.json").exists()


def test_without_a_status_pairing_tells_the_mode(tmp_path: Path) -> None:
    messages = []
    for index in range(12):
        messages += [rgb(index), boxes(TRUTH, index, TRUE), found(index, delay_ns=PERIOD_NS // 2)]
    report = evaluate(write_bag(tmp_path / "bag", messages)).report
    assert set(report["modes"]) == {"rgb_only"}
