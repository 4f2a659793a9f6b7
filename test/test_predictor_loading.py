# SPDX-License-Identifier: Apache-2.0
"""What the node takes from the checkpoint, and what its parameters change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("rclpy")

from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.calibration import Calibration
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata, save_checkpoint
from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling
from fusion_mamba_ros.perception.threads import set_threads
from fusion_mamba_ros.ros.detector.parameter_spec import ParameterError
from fusion_mamba_ros.ros.detector.parameters import SPECS, DetectorParameters
from fusion_mamba_ros.ros.detector.predictor_loading import load_predictor, thresholds_of

TRAINED = ThermalScaling(method="range", range_min=7000, range_max=9000, polarity="black_hot")
HOMOGRAPHY = ((0.9, 0.0, 0.05), (0.0, 0.9, 0.05), (0.0, 0.0, 1.0))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "model.safetensors"
    model = FusionMambaDetector(ModelConfig(classes=1, fusion="add"))
    metadata = CheckpointMetadata(("person",), (64, 64), thermal=TRAINED, homography=HOMOGRAPHY)
    save_checkpoint(path, model, metadata)
    return path


def parameters(checkpoint: Path | str, **changes: Any) -> DetectorParameters:
    values = {spec.name: spec.default for spec in SPECS} | {"checkpoint": str(checkpoint)}
    return DetectorParameters.from_values(values | {name.replace("__", "."): value for name, value in changes.items()})


def test_without_a_word_everything_is_as_in_training(checkpoint: Path) -> None:
    predictor = load_predictor(parameters(checkpoint))
    assert predictor.thermal_scaling == TRAINED
    assert predictor.homography.tolist() == [pytest.approx(row) for row in HOMOGRAPHY]


def test_parameters_win_over_the_checkpoint(checkpoint: Path) -> None:
    identity = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    changed = parameters(
        checkpoint,
        thermal__polarity="white_hot",
        thermal__scaling="range",
        thermal__range_min=100.0,
        thermal__range_max=200.0,
        registration__homography=identity,
    )
    predictor = load_predictor(changed)
    assert predictor.thermal_scaling == ThermalScaling(method="range", range_min=100, range_max=200)
    assert predictor.homography.ravel().tolist() == identity


def test_another_polarity_leaves_the_method_of_training(checkpoint: Path) -> None:
    predictor = load_predictor(parameters(checkpoint, thermal__polarity="white_hot"))
    assert predictor.thermal_scaling == ThermalScaling(method="range", range_min=7000, range_max=9000)


def test_the_home_folder_may_be_abbreviated(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(checkpoint.parent))
    assert load_predictor(parameters("~/model.safetensors")).class_names == ("person",)


def test_threads_is_the_number_of_threads_of_torch_and_0_what_it_was_before(checkpoint: Path) -> None:
    set_threads(0)
    automatic = torch.get_num_threads()
    try:
        for count in (automatic + 2, 1, automatic + 1):
            load_predictor(parameters(checkpoint, threads=count))
            assert torch.get_num_threads() == count
        load_predictor(parameters(checkpoint, threads=0))
        assert torch.get_num_threads() == automatic
    finally:
        set_threads(0)


@pytest.mark.parametrize(
    ("stored", "chosen", "expected"),
    [(None, -1.0, 0.25), (0.41, -1.0, 0.41), (0.0, -1.0, 0.0), (0.41, 0.6, 0.6), (0.41, 0.0, 0.0), (None, 0.6, 0.6)],
)
def test_score_threshold_is_that_of_the_checkpoint_unless_one_is_set(
    stored: float | None, chosen: float, expected: float
) -> None:
    calibration = None if stored is None else Calibration((1.0,), stored)
    metadata = CheckpointMetadata(("person",), (64, 64), calibration=calibration)
    assert thresholds_of(parameters("", score_threshold=chosen), metadata).score_threshold == expected


def test_a_negative_score_threshold_other_than_minus_one_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"score_threshold is -0.5: expected 0 to 1, or -1"):
        parameters("", score_threshold=-0.5)


def test_an_engine_that_cannot_run_the_checkpoint_is_refused(checkpoint: Path) -> None:
    with pytest.raises(ValueError, match=r"engine 'onnxruntime' runs \.onnx files, not"):
        load_predictor(parameters(checkpoint, engine="onnxruntime"))
    with pytest.raises(ParameterError, match="parameter engine is 'caffe': expected one of auto, torch, onnxruntime"):
        parameters(checkpoint, engine="caffe")
    assert load_predictor(parameters(checkpoint, engine="torch")).engine.name == "torch"
