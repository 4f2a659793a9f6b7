# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba eval-bag`: exit codes, table, written bag and errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from evaluation_bags import BOX, FAR_BOX, Message, OneBoxDetector, boxes, rgb, stamp, thermal, write_bag
from pycocotools.coco import COCO
from typer.testing import CliRunner, Result

import fusion_mamba_ros.evaluation.bag_evaluation.evaluate_bag as evaluate_bag_module
from fusion_mamba_ros.bags.bag_reading import Bag
from fusion_mamba_ros.cli import app
from fusion_mamba_ros.perception.default_checkpoint import default_checkpoint

ROOT = Path(__file__).resolve().parents[1]
TRUE = [("person", BOX, 1.0)]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bag in which half of the people were found, with a latency of 40 ms."""
    messages = []
    for index in range(10):
        found = [("person", BOX if index % 2 else FAR_BOX, 0.9)]
        messages += [rgb(index), thermal(index), boxes("/ground_truth", index, TRUE)]
        messages.append(boxes("/detections", index, found, received_ns=stamp(index) + 40_000_000))
    return write_bag(tmp_path_factory.mktemp("recorded") / "bag", messages)


def eval_bag(bag: Path, out: Path, *arguments: object) -> Result:
    options = ["--detections", "/detections", "--ground-truth", "/ground_truth", "--out", str(out)]
    return CliRunner().invoke(app, ["eval-bag", str(bag), *options, *map(str, arguments)])


@pytest.mark.parametrize(
    ("text", "code", "shown"),
    [
        ("minimum: {recall: {person: 0.5}}\nmaximum: {latency_p95_ms: 50}", 0, "scenario gate: passed"),
        ("minimum: {recall: {person: 0.75}}\nmaximum: {latency_p95_ms: 50}", 1, "FAILED"),
        ("maximum: {latency_p95_ms: 30}", 1, "scenario gate: failed"),
        ("minimum: {map50: {thermal_only: {mean: 0.1}}}", 2, "scenario gate: not evaluated"),
        ("minimum: {recall: {dog: 0.5}}", 2, "names the class 'dog'"),
        ("minimum: {recal: {person: 0.5}}", 2, "unknown key 'recal'"),
    ],
)
def test_the_exit_code_tells_the_result_of_the_gate(
    recorded: Path, tmp_path: Path, text: str, code: int, shown: str
) -> None:
    scenario = tmp_path / "gate.yaml"
    scenario.write_text(text)
    result = eval_bag(recorded, tmp_path / "out", "--scenario", scenario)
    assert result.exit_code == code, result.output
    assert shown in result.output
    if "names the class" not in shown and "unknown key" not in shown:
        gate = json.loads((tmp_path / "out/report.json").read_text())["gate"]
        assert gate["result"] == {0: "passed", 1: "failed", 2: "not_evaluated"}[code]


def test_the_table_says_by_how_much_a_criterion_failed(recorded: Path, tmp_path: Path) -> None:
    (tmp_path / "gate.yaml").write_text("minimum: {recall: {person: 0.75}}")
    result = eval_bag(recorded, tmp_path / "out", "--scenario", tmp_path / "gate.yaml")
    assert "recall person" in result.output and "0.25" in result.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--detections", "/nothing"], "no messages on topic '/nothing'"),
        (["--ground-truth", "/nothing"], "ground truth '/nothing' is no topic of the bag"),
        (["--protocol", "voc"], "--protocol is 'voc': expected coco or published"),
        (["--tolerance", "-1"], "--tolerance is -1: expected 0 to 10"),
        (["--speed", "0"], "--speed is 0: expected 0.001 to 1000"),
        (["--topics", "/a", "/a"], "both cameras have the topic '/a'"),
        (["--scenario", "nowhere.yaml"], "scenario 'nowhere.yaml' cannot be read"),
    ],
)
def test_a_wrong_argument_is_one_sentence(recorded: Path, tmp_path: Path, arguments: list[str], sentence: str) -> None:
    result = eval_bag(recorded, tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert sentence in result.output and "Traceback" not in result.output


def test_the_detections_are_written_with_the_stamps_of_the_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [camera(index) for index in range(6) for camera in (rgb, thermal)]
    images += [thermal(index) for index in range(6, 20)]  # the RGB camera stops: thermal alone
    bag = write_bag(tmp_path / "bag", images)
    monkeypatch.setattr(evaluate_bag_module, "load_predictor", lambda options: OneBoxDetector())
    arguments = ["eval-bag", str(bag), "--out", str(tmp_path / "out"), "--write-bag", str(tmp_path / "found")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0 and str(tmp_path / "found") in result.output
    # The stand-in was trained for tiles.
    assert "warning: this checkpoint was trained for tiles" in result.output and "--tiles auto" in result.output
    stamps: dict[str, list[int]] = {}
    with Bag(tmp_path / "found") as found:
        for message, fields in found.read():
            header = fields.header if message.topic.startswith("/detections") else fields.points[0].timestamp
            time = header.stamp if message.topic.startswith("/detections") else header
            stamps.setdefault(message.topic, []).append(time.sec * 10**9 + time.nanosec)
            if message.topic.startswith("/detections"):
                box = fields.detections[0].bbox
                assert (box.center.position.x, box.size_x) == pytest.approx((7, 10))
                assert header.frame_id == "camera"
    assert stamps["/detections"] == stamps["/detector_node/annotations"] == [stamp(index) for index in range(6)]
    thermal_stamps = stamps["/detections_thermal"]
    assert thermal_stamps == stamps["/detector_node/annotations_thermal"]
    assert len(thermal_stamps) > 10 and set(thermal_stamps) <= {stamp(index) for index in range(20)}
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 2 and "exists: remove it or choose another name" in again.output
    with_detections = eval_bag(bag, tmp_path / "out", "--write-bag", tmp_path / "other")
    assert with_detections.exit_code == 2 and "leave out --detections" in with_detections.output


def test_the_fiftyone_export_has_every_frame_with_output_and_boxes_in_pixels_of_its_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [camera(index) for index in range(6) for camera in (rgb, thermal)]
    half = np.full((16, 20), 90, np.uint8)
    # The RGB camera stops: thermal alone, at half the size.
    images += [Message("/thermal/image_raw", stamp(index), half + index) for index in range(6, 20)]
    images += [boxes("/ground_truth", index, TRUE) for index in range(4)]
    bag = write_bag(tmp_path / "bag", images)
    monkeypatch.setattr(evaluate_bag_module, "load_predictor", lambda options: OneBoxDetector())
    arguments = ["eval-bag", str(bag), "--ground-truth", "/ground_truth", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, [*arguments, "--fiftyone", str(tmp_path / "coco")])
    assert result.exit_code == 0, result.output
    truth = COCO(tmp_path / "coco/labels.json")
    found = truth.loadRes(str(tmp_path / "coco/predictions.json"))
    exported = truth.loadImgs(truth.getImgIds())
    assert f"written: {len(exported)} images to {tmp_path / 'coco'}" in result.output
    assert [item["stamp_ns"] for item in exported] == sorted(item["stamp_ns"] for item in exported)
    assert [item["labelled"] for item in exported] == [True] * 4 + [False] * (len(exported) - 4)
    modes = [item["mode"] for item in exported]
    assert modes[:6] == ["fused"] * 6 and set(modes[6:]) == {"thermal_only"} and len(modes) > 15
    for item in exported:
        pixels = cv2.imread(str(tmp_path / "coco/data" / item["file_name"]))
        assert pixels.shape[:2] == (item["height"], item["width"]) == (32, 40)
        (annotation,) = found.imgToAnns[item["id"]]
        assert annotation["bbox"] == [2, 3, 10, 10]
    again = CliRunner().invoke(app, [*arguments, "--fiftyone", str(tmp_path / "coco")])
    assert again.exit_code == 2 and "has files already" in again.output


def test_an_exported_model_is_evaluated_with_the_engine_that_the_option_names(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="exported models need the extra `export`")
    seed = 3
    generator = np.random.default_rng(seed)
    images = [Message("/rgb/image_raw", stamp(0), generator.integers(0, 255, (120, 160, 3), np.uint8))]
    images.append(Message("/thermal/image_raw", stamp(0), generator.integers(0, 255, (120, 160), np.uint8)))
    bag = write_bag(tmp_path / "bag", images)
    arguments = ["eval-bag", str(bag), "--checkpoint", str(default_checkpoint().with_suffix(".onnx"))]
    arguments += ["--device", "cpu", "--score-threshold", "0.01", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, [*arguments, "--engine", "onnxruntime", "--tiles", "2x1"])
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["subject"]["engine"] == "onnxruntime" and report["subject"]["tiles"] == "2x1, overlap 0.2"
    assert report["detections"]["total"] > 0, f"seed {seed}"
    for option in ("--engine", "--tiles"):
        wrong = CliRunner().invoke(app, [*arguments, option, "nonsense"])
        assert wrong.exit_code == 2 and "nonsense" in wrong.output and "Traceback" not in wrong.output


def test_a_bag_without_a_message_is_one_sentence(tmp_path: Path) -> None:
    result = eval_bag(write_bag(tmp_path / "empty", []), tmp_path / "out")
    assert result.exit_code == 2 and "is empty: it holds no message" in result.output
    assert not (tmp_path / "out/report.json").exists()


def test_ctrl_c_ends_with_one_sentence_and_writes_nothing(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", [camera(index) for index in range(200) for camera in (rgb, thermal)])
    script = f"""
import os, signal, sys
sys.path.insert(0, {str(ROOT / "test")!r})
from evaluation_bags import OneBoxDetector
import fusion_mamba_ros.evaluation.bag_evaluation.evaluate_bag as module
class Interrupting(OneBoxDetector):
    def predict_for(self, *arguments, **options):
        if len(self.seen) == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return super().predict_for(*arguments, **options)
module.load_predictor = lambda options: Interrupting()
from fusion_mamba_ros.cli import main
sys.argv = ["fusion-mamba", "eval-bag", {str(bag)!r}, "--out", {str(tmp_path / "out")!r}]
main()
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert result.returncode == 130, result.stderr
    assert result.stderr.strip().endswith("interrupted: nothing is written")
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out/report.json").exists()
