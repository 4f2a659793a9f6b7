# SPDX-License-Identifier: Apache-2.0
"""The export of detections for FiftyOne, read again by pycocotools."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from fusion_mamba_ros.evaluation.fiftyone_export import FiftyOneExport
from fusion_mamba_ros.perception.detections import Detections

CLASSES = ("person", "bicycle", "car")


def detections_of(boxes: list[list[float]], labels: list[int], scores: list[float]) -> Detections:
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(labels, int))


def export(folder: Path) -> None:
    """Export an image with one hit and one false alarm, one with a miss, and one without known true boxes."""
    writer = FiftyOneExport(folder, CLASSES)
    rgb = np.full((48, 64, 3), (200, 30, 30), np.uint8)
    truth = np.array([[10, 10, 30, 40]], np.float32)
    person = np.array([0])
    found = detections_of([[10, 10, 30, 40], [40, 5, 60, 20]], [0, 2], [0.9, 0.6])
    writer.add(rgb, found, stamp_ns=1_700_000_000_123_456_789, true_boxes=truth, true_labels=person)
    thermal = np.full((20, 30), 40_000, np.uint16)
    writer.add(thermal, detections_of([], [], []), stamp_ns=2, true_boxes=truth / np.float32(2), true_labels=person)
    writer.add(rgb, detections_of([], [], []), stamp_ns=3)
    writer.close()


def test_pycocotools_reads_and_scores_the_export(tmp_path: Path) -> None:
    export(tmp_path / "export")
    truth = COCO(tmp_path / "export" / "labels.json")
    assert {item["id"]: item["name"] for item in truth.loadCats(truth.getCatIds())} == {
        1: "person",
        2: "bicycle",
        3: "car",
    }
    results = truth.loadRes(str(tmp_path / "export" / "predictions.json"))
    evaluation = COCOeval(truth, results, "bbox")
    evaluation.params.catIds = [1]
    evaluation.evaluate()
    evaluation.accumulate()
    # One of two persons is found, without a false alarm of this class: precision 1 up to recall 0.5 (51 of 101 points).
    np.testing.assert_allclose(evaluation.eval["precision"][0, :, 0, 0, 2].mean(), 51 / 101)
    np.testing.assert_allclose(evaluation.eval["recall"][0, 0, 0, 2], 0.5)


def test_images_are_stored_with_their_size_and_stamp(tmp_path: Path) -> None:
    export(tmp_path / "export")
    content = json.loads((tmp_path / "export" / "labels.json").read_text())
    first, second, third = content["images"]
    assert (first["width"], first["height"], first["stamp_ns"]) == (64, 48, 1_700_000_000_123_456_789)
    assert (first["labelled"], third["labelled"]) == (True, False)
    stored = cv2.imread(str(tmp_path / "export" / "data" / first["file_name"]))
    assert np.abs(stored.astype(int) - (30, 30, 200)).max() < 5
    thermal = cv2.imread(str(tmp_path / "export" / "data" / second["file_name"]), cv2.IMREAD_UNCHANGED)
    assert thermal.dtype == np.uint16 and (thermal == 40_000).all()
    box = content["annotations"][0]
    assert box["bbox"] == [10, 10, 20, 30] and box["area"] == 600 and box["category_id"] == 1


def test_folder_with_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="has files already"):
        FiftyOneExport(tmp_path, CLASSES)
