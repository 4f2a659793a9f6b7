# SPDX-License-Identifier: Apache-2.0
"""Training on crops at the resolution of the images, and the recipe for a drone."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from fusion_mamba_ros.cli import app
from fusion_mamba_ros.datasets import Augmentation, AugmentationConfig, Sample
from fusion_mamba_ros.datasets.native_crop import random_crop
from fusion_mamba_ros.training.recipe import Recipe, TrainingError

pytestmark = pytest.mark.usefixtures("torch_settings")


def sample_with_boxes(seed: int, count: int = 6) -> Sample:
    """Return a pair of 150x110 pixels whose boxes, drawn into both images, have a grey level of their own each."""
    generator = np.random.default_rng(seed)
    thermal, boxes = np.zeros((110, 150), np.uint8), []
    for index in range(count):
        x, y = 25 * index, int(generator.integers(0, 90))
        boxes.append((x, y, x + int(generator.integers(5, 20)), y + int(generator.integers(5, 20))))
        x1, y1, x2, y2 = boxes[-1]
        thermal[y1:y2, x1:x2] = 40 * (index + 1)
    images = {"rgb": np.repeat(thermal[..., None], 3, axis=2), "thermal": thermal}
    return Sample("a", images, np.array(boxes, np.float32), np.arange(count))


@pytest.mark.parametrize("seed", range(30))
def test_a_crop_keeps_the_resolution_and_the_boxes_on_their_objects(seed: int) -> None:
    sample = sample_with_boxes(seed)
    generator = np.random.default_rng(seed)
    size = int(generator.integers(20, 200)), int(generator.integers(20, 200))
    part = random_crop(sample, size, 0.5, generator)
    assert part.size == (min(size[0], 150), min(size[1], 110))
    assert part.images["rgb"].shape[:2] == part.images["thermal"].shape
    for box, label in zip(part.boxes, part.labels, strict=True):
        x1, y1, x2, y2 = (int(value) for value in box)
        assert (part.images["thermal"][y1:y2, x1:x2] == 40 * (label + 1)).all(), f"seed {seed}"
        assert (part.images["thermal"] == 40 * (label + 1)).sum() == (x2 - x1) * (y2 - y1)
    for label in set(range(6)) - set(part.labels.tolist()):
        whole = float(np.prod(sample.boxes[label, 2:] - sample.boxes[label, :2]))
        assert (part.images["thermal"] == 40 * (label + 1)).sum() < 0.5 * whole, f"seed {seed}"


def test_half_of_the_crops_are_at_an_object() -> None:
    image = np.zeros((400, 400), np.uint8)
    sample = Sample("a", {"thermal": image}, np.array([[10, 10, 14, 14]], np.float32), np.zeros(1, np.int64))
    generator = np.random.default_rng(0)
    found = Counter(len(random_crop(sample, (40, 40), 0.2, generator).labels) for _ in range(200))
    assert 80 <= found[1] <= 125  # a random crop alone has the object in about one of 100


def test_augmented_pairs_show_objects_at_their_own_size() -> None:
    sample = sample_with_boxes(1)
    config = AugmentationConfig.none((64, 64))
    native = Augmentation(AugmentationConfig.from_dict({**config.to_dict(), "native_crop_probability": 1.0}))
    shrunk = Augmentation(config)
    widths = {round(float(side), 3) for box in sample.boxes for side in (box[2:] - box[:2])}
    part = native([sample], 0, np.random.default_rng(3))
    inner = (part.boxes[:, :2] > 0).all(axis=1) & (part.boxes[:, 2:] < 64).all(axis=1)
    assert inner.any()
    assert {round(float(side), 3) for box in part.boxes[inner] for side in (box[2:] - box[:2])} <= widths
    small = shrunk([sample], 0, np.random.default_rng(3))
    np.testing.assert_allclose(
        small.boxes[0, 2:] - small.boxes[0, :2], (sample.boxes[0, 2:] - sample.boxes[0, :2]) * 64 / 150, atol=0.5
    )


def test_a_wrong_tiling_in_a_recipe_is_refused() -> None:
    with pytest.raises(TrainingError, match="recipe: tiles is 'many': expected auto"):
        Recipe.from_dict({"tiles": "many"})
    with pytest.raises(TrainingError, match="recipe: tiles is 3: expected auto"):
        Recipe.from_dict({"tiles": 3})


def write_drone_images(folder: Path) -> Path:
    generator = np.random.default_rng(0)
    for kind in ("thermal", "labels"):
        (folder / kind).mkdir(parents=True)
    names = [f"image{index}" for index in range(6)]
    for name in names:
        image = generator.integers(0, 60, (128, 160), dtype=np.uint8)
        x, y = (int(value) for value in generator.integers(10, 100, 2))
        image[y : y + 14, x : x + 10] = 230
        cv2.imwrite(str(folder / "thermal" / f"{name}.png"), image)
        text = f"0 {(x + 5) / 160:.6f} {(y + 7) / 128:.6f} {10 / 160:.6f} {14 / 128:.6f}\n"
        (folder / "labels" / f"{name}.txt").write_text(text)
    (folder / "train.txt").write_text("".join(f"{name}\n" for name in names[:4]))
    (folder / "val.txt").write_text("".join(f"{name}\n" for name in names[4:]))
    return folder


def test_the_drone_recipe_trains_on_crops_and_its_model_predicts_with_tiles(tmp_path: Path) -> None:
    data, out = write_drone_images(tmp_path / "drone"), tmp_path / "run"
    changes = ("epochs=1", "batch_size=2", "input_size=[64,64]", "precision=fp32", "sample_predictions=0")
    arguments = ["train", "--config", "drone_thermal", "--data", str(data), "--out", str(out), "--threads", "1"]
    runner = CliRunner()
    result = runner.invoke(app, arguments + [word for change in changes for word in ("--set", change)])
    assert result.exit_code == 0, result.output
    assert "yolov8 n, thermal" in result.output and "4 pairs to train, 2 to validate" in result.output
    (row,) = csv.DictReader((out / "results.csv").open())
    assert "thermal_only_mAP50" in row and float(row["train_classes"]) > 0
    assert yaml.safe_load((out / "recipe.yaml").read_text())["tiles"] == "auto"
    predicted = tmp_path / "predicted"
    command = ["predict", "--thermal", str(data / "thermal"), "--checkpoint", str(out / "last.safetensors")]
    tiled = [*command, "--tiles", "auto", "--score-threshold", "0", "--no-images", "--threads", "1"]
    result = runner.invoke(app, [*tiled, "--out", str(predicted)])
    assert result.exit_code == 0, result.output
    boxes = np.array([item["bbox"] for item in json.loads((predicted / "detections.json").read_text())["annotations"]])
    # Boxes of all tiles: beyond the first one, which has 64 pixels, and inside the image.
    assert boxes[:, 0].max() > 64 and (boxes[:, 0] + boxes[:, 2]).max() <= 160 + 1e-3
    result = runner.invoke(app, [*command, "--tiles", "none", "--out", str(predicted)])
    assert result.exit_code == 2 and "error: tiles is 'none': expected auto" in result.output
