# SPDX-License-Identifier: Apache-2.0
"""A bag made losslessly from labelled pairs gives the accuracy of `fusion-mamba eval` on these pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import pytest

from fusion_mamba_ros.bags.bag_writing import ImageBagWriter
from fusion_mamba_ros.datasets.open_dataset import open_dataset
from fusion_mamba_ros.evaluation.bag_evaluation.evaluate_bag import evaluate_bag, load_predictor
from fusion_mamba_ros.evaluation.bag_evaluation.options import BagEvaluationOptions, DetectorOptions
from fusion_mamba_ros.evaluation.evaluate import PROTOCOL, evaluate
from fusion_mamba_ros.perception.default_checkpoint import default_checkpoint
from fusion_mamba_ros.perception.detections import Mode
from fusion_mamba_ros.perception.predictor import Predictor
from fusion_mamba_ros.synthetic.procedural_scene import CLASS_NAMES, ProceduralScene

PAIRS = 4


def write_dataset(root: Path) -> None:
    """Write pairs of a procedural street as a paired-YOLO folder."""
    scene = ProceduralScene(3, night=True, frames_per_second=1.0)
    for folder in ("rgb", "thermal", "labels"):
        (root / folder).mkdir(parents=True)
    for index in range(PAIRS):
        sample = scene.render(index)
        cv2.imwrite(str(root / f"rgb/{index}.png"), cv2.cvtColor(sample.images["rgb"], cv2.COLOR_RGB2BGR))
        cv2.imwrite(str(root / f"thermal/{index}.png"), sample.images["thermal"])
        height, width = sample.images["rgb"].shape[:2]
        lines = []
        for (left, top, right, bottom), label in zip(sample.boxes.tolist(), sample.labels.tolist(), strict=True):
            box = (
                (left + right) / 2 / width,
                (top + bottom) / 2 / height,
                (right - left) / width,
                (bottom - top) / height,
            )
            lines.append(f"{label} " + " ".join(f"{value:.6f}" for value in box))
        (root / f"labels/{index}.txt").write_text("\n".join(lines))
    (root / "val.txt").write_text("\n".join(map(str, range(PAIRS))))
    (root / "classes.txt").write_text("\n".join(CLASS_NAMES))


def test_the_accuracy_is_that_of_eval_on_the_same_pairs(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data")
    dataset = open_dataset(tmp_path / "data", "val", classes=CLASS_NAMES)
    bag = ImageBagWriter(
        tmp_path / "bag",
        topics={"rgb": "/rgb/image_raw", "thermal": "/thermal/image_raw"},
        frame_ids={"rgb": "camera", "thermal": "camera"},
        label_topic="/ground_truth",
    )
    for index in range(len(dataset)):
        sample = dataset[index]
        stamp_ns = 10**18 + index * 10**8
        bag.write_image("rgb", stamp_ns, sample.images["rgb"])
        bag.write_image("thermal", stamp_ns, sample.images["thermal"])
        bag.write_labels("rgb", stamp_ns, sample.boxes, [CLASS_NAMES[label] for label in sample.labels])
    bag.close()
    predictor = Predictor.from_checkpoint(default_checkpoint(), "cpu", "fp32", thresholds=PROTOCOL)
    expected = evaluate(predictor.predict_batch, dataset, [Mode.FUSED], batch_size=PAIRS).modes[Mode.FUSED].metrics
    options = BagEvaluationOptions(
        ground_truth="/ground_truth", detector=DetectorOptions(device="cpu", precision="fp32", threads=1)
    )
    report: Any = evaluate_bag(tmp_path / "bag", options, load_predictor=lambda: load_predictor(options)).report
    found = report["accuracy"]
    assert found["overall"]["frames"] == PAIRS and found["overall"]["boxes"] == expected.boxes > 0
    for mine, theirs in (("mAP", "map"), ("mAP50", "map50"), ("mAP75", "map75")):
        assert found["overall"][mine] == pytest.approx(getattr(expected, theirs), abs=1e-4)
    for name, item in expected.per_class.items():
        assert found["overall"]["per_class"][name]["AP"] == pytest.approx(item.ap, abs=1e-4)
    assert found["overall"]["mAP50"] > 0.5
