# SPDX-License-Identifier: Apache-2.0
"""Calibrated scores: the fit against SciPy, the error against a plain loop, the predictor with and without."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from detection_cases import random_results
from paired_folders import write_paired_yolo
from scipy.optimize import minimize_scalar
from typer.testing import CliRunner

from fusion_mamba_ros.cli import app
from fusion_mamba_ros.evaluation.calibration_error import (
    as_deployed,
    expected_calibration_error,
    scored_detections,
)
from fusion_mamba_ros.evaluation.calibration_fitting import calibrated_results, fit_calibration, fit_temperature
from fusion_mamba_ros.evaluation.detection_metrics import measure
from fusion_mamba_ros.evaluation.operating_point import best_operating_point
from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.calibration import Calibration
from fusion_mamba_ros.perception.checkpoint import (
    CheckpointError,
    CheckpointMetadata,
    is_half,
    load_checkpoint,
    read_metadata,
    save_checkpoint,
)
from fusion_mamba_ros.perception.mode import Mode
from fusion_mamba_ros.perception.predictor import Predictor, Thresholds

run = CliRunner()
CLASSES = ("person", "bicycle", "car")


def drawn(seed: int, temperature: float, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Return logits that are ``temperature`` times too large, and outcomes of the right ones."""
    print(f"seed {seed}")
    generator = np.random.default_rng(seed)
    right = generator.normal(-0.5, 1.5, count)
    return right * temperature, generator.random(count) < 1 / (1 + np.exp(-right))


@pytest.mark.parametrize(("seed", "temperature"), [(0, 0.5), (1, 1.0), (2, 3.0)])
def test_temperature_is_that_of_highest_likelihood(seed: int, temperature: float) -> None:
    logits, correct = drawn(seed, temperature)

    def loss(log_temperature: float) -> float:
        p = 1 / (1 + np.exp(-logits / np.exp(log_temperature)))
        value: float = -np.log(np.where(correct, p, 1 - p)).sum()
        return value

    expected = np.exp(minimize_scalar(loss, bounds=(-2.3, 2.3), method="bounded", options={"xatol": 1e-8}).x)
    fitted = fit_temperature(logits, correct)
    assert fitted == pytest.approx(expected, rel=1e-4)
    assert fitted == pytest.approx(temperature, rel=0.12)


@pytest.mark.parametrize(
    ("logits", "correct", "temperature"),
    [
        # The likelihood has no maximum: the scores tell right from wrong without a mistake, or say the opposite.
        ([2.0, -2.0], [True, False], 0.1),
        ([2.0, -2.0], [False, True], 10.0),
        ([0.0, 0.0], [True, False], 1.0),
    ],
)
def test_temperature_stays_in_its_range(logits: list[float], correct: list[bool], temperature: float) -> None:
    assert fit_temperature(np.array(logits), np.array(correct)) == pytest.approx(temperature)


@pytest.mark.parametrize("seed", range(3))
def test_error_is_the_weighted_gap_of_each_bin(seed: int) -> None:
    print(f"seed {seed}")
    generator = np.random.default_rng(seed)
    scores, correct = np.append(generator.random(300), 1.0), generator.random(301) < 0.3
    expected = 0.0
    for number in range(10):
        inside = [i for i, score in enumerate(scores) if min(int(score * 10), 9) == number]
        gap = abs(np.mean([correct[i] for i in inside]) - np.mean([scores[i] for i in inside]))
        expected += len(inside) / 301 * gap
    assert expected_calibration_error(scores, correct) == pytest.approx(expected)
    assert expected_calibration_error(np.zeros(0), np.zeros(0, bool)) is None


def test_calibration_keeps_the_order_within_a_class_and_lowers_the_error() -> None:
    results = random_results(3, images=60, noise_count=4)
    calibration = fit_calibration(results)
    deployed = as_deployed(results)
    calibrated = calibrated_results(deployed, calibration)
    before, after = scored_detections(deployed), scored_detections(calibrated)
    assert calibration.fitted["expected_calibration_error_before"] == pytest.approx(
        expected_calibration_error(before.scores, before.correct)
    )
    first, second = measure(deployed), measure(calibrated)
    for name, item in first.per_class.items():
        # Equal scores may change places in the last bit.
        assert second.per_class[name].ap == pytest.approx(item.ap, abs=1e-4)
    lowered = expected_calibration_error(after.scores, after.correct)
    assert lowered < calibration.fitted["expected_calibration_error_before"]
    best = best_operating_point(calibrated)
    assert best is not None and calibration.score_threshold == pytest.approx(best.score_threshold)


def test_duplicates_that_the_protocol_leaves_do_not_count() -> None:
    results = random_results(0, images=4)
    doubled = replace(
        results,
        images=tuple(
            replace(
                image,
                detections=replace(
                    image.detections,
                    boxes=np.concatenate([image.detections.boxes] * 2),
                    scores=np.concatenate([image.detections.scores] * 2),
                    labels=np.concatenate([image.detections.labels] * 2),
                ),
            )
            for image in results.images
        ),
    )
    one, other = (scored_detections(as_deployed(item)) for item in (results, doubled))
    np.testing.assert_array_equal(np.sort(one.scores), np.sort(other.scores))
    assert one.correct.sum() == other.correct.sum()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    model = FusionMambaDetector(ModelConfig(classes=3, fusion="add"))
    save_checkpoint(path, model, CheckpointMetadata(CLASSES, (64, 64)), half=True)
    return path


def images(seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {
        "rgb": generator.integers(0, 255, (64, 64, 3), dtype=np.uint8),
        "thermal": generator.integers(0, 255, (64, 64), dtype=np.uint8),
    }


def test_predictor_applies_the_calibration_unless_told_otherwise(checkpoint: Path, tmp_path: Path) -> None:
    model, metadata = load_checkpoint(checkpoint)
    calibration = Calibration((2.0, 2.0, 2.0), 0.125)
    save_checkpoint(tmp_path / "c.safetensors", model, replace(metadata, calibration=calibration))
    cases = ((checkpoint, True), (tmp_path / "c.safetensors", False), (tmp_path / "c.safetensors", True))
    everything = Thresholds(score_threshold=0.0, nms_threshold=1.0, max_detections=1000)
    plain, raw, calibrated = (
        Predictor.from_checkpoint(path, "cpu", thresholds=everything, calibrated=wanted).predict(images())
        for path, wanted in cases
    )
    np.testing.assert_array_equal(plain.scores, raw.scores)
    np.testing.assert_array_equal(plain.boxes, raw.boxes)
    logits = np.log(raw.scores.astype(np.float64) / (1 - raw.scores.astype(np.float64)))
    np.testing.assert_allclose(calibrated.scores, 1 / (1 + np.exp(-logits / 2)), rtol=1e-5)
    predictors = [Predictor.from_checkpoint(path, "cpu", calibrated=wanted) for path, wanted in cases]
    assert [predictor.thresholds.score_threshold for predictor in predictors] == [0.25, 0.25, 0.125]


def test_certain_scores_stay_numbers() -> None:
    calibrated = Calibration((0.5, 2.0), 0.3).apply(cast(Any, torch.tensor([[0.0, 1.0], [1.0, 0.0]])))
    assert calibrated.tolist() == [[0.0, 1.0], [1.0, 0.0]]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (((1.0, -1.0, 1.0), 0.3), "expected positive numbers"),
        (((1.0, float("nan"), 1.0), 0.3), "expected positive numbers"),
        (((1.0, 1.0, 1.0), 1.5), "score_threshold is 1.5"),
    ],
)
def test_calibration_out_of_range_is_refused(values: tuple[tuple[float, float, float], float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Calibration(*values)


def test_checkpoint_with_temperatures_of_other_classes_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = tmp_path / "bad.safetensors"
    config, metadata = read_metadata(checkpoint)
    document = {"format": 1, "model": config.to_dict(), **metadata.to_dict()}
    document["calibration"] = {"temperatures": [1.0], "score_threshold": 0.3}
    save_file(load_file(checkpoint), path, {"fusion_mamba": json.dumps(document)})
    with pytest.raises(CheckpointError, match="1 temperatures for 3 classes"):
        load_checkpoint(path)


def test_command_stores_the_calibration_and_keeps_the_weights(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_paired_yolo(tmp_path / "data", {"val": ["a", "b", "c"]})
    results = random_results(1, images=60, noise_count=4)

    class Found:
        def __init__(self, mode: Mode) -> None:
            self.skipped: dict[str, str] = {}
            self.modes = {mode: self}
            self.results = replace(results, class_names=CLASSES, mode=mode)

    monkeypatch.setattr("fusion_mamba_ros.evaluation.evaluate.evaluate", lambda *a, **_: Found(a[2][0]))
    out = tmp_path / "out.safetensors"
    done = run.invoke(app, ["calibrate", str(checkpoint), "--data", str(folder), "--out", str(out), "--device", "cpu"])
    assert done.exit_code == 0, done.output
    (model, metadata), (before, _) = load_checkpoint(out), load_checkpoint(checkpoint)
    assert is_half(out) and all(torch.equal(a, b) for a, b in zip(model.parameters(), before.parameters(), strict=True))
    assert metadata.calibration is not None
    assert metadata.calibration.fitted["data"] == "data" and metadata.calibration.fitted["split"] == "val"
    assert f"{metadata.calibration.score_threshold:.3f}" in done.output
    assert "calibration" not in read_metadata(checkpoint)[1].to_dict()


def test_command_says_that_nothing_right_was_found(checkpoint: Path, tmp_path: Path) -> None:
    folder = write_paired_yolo(tmp_path / "data", {"val": ["a"]}, labels=())
    done = run.invoke(
        app, ["calibrate", str(checkpoint), "--data", str(folder), "--out", str(tmp_path / "o"), "--device", "cpu"]
    )
    assert done.exit_code == 2 and "a calibration cannot be fitted" in done.output and not (tmp_path / "o").exists()


@pytest.mark.parametrize(("options", "threshold"), [([], 0.125), (["--score-threshold", "0.4"], 0.4)])
def test_predict_uses_the_stored_threshold_where_none_is_given(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], threshold: float
) -> None:
    model, metadata = load_checkpoint(checkpoint)
    calibration = Calibration((1.0, 1.0, 1.0), 0.125)
    save_checkpoint(tmp_path / "c.safetensors", model, replace(metadata, calibration=calibration))
    folder = write_paired_yolo(tmp_path / "data", {"val": ["a"]})
    used = []
    monkeypatch.setattr(
        "fusion_mamba_ros.commands.predict._run", lambda source, predictor, *_, **__: used.append(predictor.thresholds)
    )
    inputs = ["--rgb", str(folder / "rgb"), "--checkpoint", str(tmp_path / "c.safetensors"), "--device", "cpu"]
    done = run.invoke(app, ["predict", *inputs, "--out", str(tmp_path / "out"), *options])
    assert done.exit_code == 0, done.output
    assert [item.score_threshold for item in used] == [threshold]
