# SPDX-License-Identifier: Apache-2.0
"""Which engine runs a file, and what is said if it cannot."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from fusion_mamba_ros.perception.calibration import Calibration
from fusion_mamba_ros.perception.checkpoint_metadata import (
    CheckpointError,
    CheckpointMetadata,
    StoredDocument,
    parse_metadata_text,
)
from fusion_mamba_ros.perception.engine import EngineOptions, EngineOutput
from fusion_mamba_ros.perception.engine_loading import (
    EngineError,
    EngineKind,
    choose_engine,
    engine_names,
    load_engine,
    read_model_document,
    register_engine,
    unregister_engine,
)
from fusion_mamba_ros.perception.finite_output import NonFiniteOutputError
from fusion_mamba_ros.perception.predictor import Predictor, Thresholds

METADATA = CheckpointMetadata(("person", "car"), (96, 64), calibration=Calibration((0.5, 2.0), 0.25))


class FixedBox:
    """An engine without PyTorch that finds one box wherever it looks."""

    name, version, device, precision = "fixed_box", "1.0", "cpu", "int8"
    modalities: Mapping[str, int] = {"rgb": 3, "thermal": 1}  # constant by contract

    def __init__(self, problem: str | None = None) -> None:
        self.problem = problem
        self.seen: list[dict[str, np.ndarray]] = []

    def run(self, images: Mapping[str, Any], calibration: Calibration | None = None) -> EngineOutput:
        self.seen.append(dict(images))
        batch = len(images["rgb"])
        rows = np.tile(np.array([[8, 8, 40, 40, 0.9, 0.1]], np.float32), (batch, 1, 1))
        return EngineOutput(rows if calibration is None else calibration.calibrate(rows), self.problem)

    def memory_mb(self) -> dict[str, float]:
        return {}

    def free_memory(self) -> None: ...


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Path, EngineOptions]]]:
    """Register an engine for `.box` files; return the list of its calls."""
    calls: list[tuple[Path, EngineOptions]] = []

    def load(path: Path, options: EngineOptions) -> tuple[FixedBox, CheckpointMetadata]:
        calls.append((path, options))
        return FixedBox(), METADATA

    module = ModuleType("fixed_box_engine")
    module.load_engine = load  # type: ignore[attr-defined]
    module.read_document = lambda path: StoredDocument(str(path), {}, METADATA)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    register_engine(
        EngineKind("fixed_box", module.__name__, module.__name__, (".box",), "Fixed Box", (), "never needed")
    )
    yield calls
    unregister_engine("fixed_box")


def test_auto_chooses_by_the_suffix_and_takes_the_unknown_for_a_checkpoint(
    loaded: list[tuple[Path, EngineOptions]],
) -> None:
    names = {name: choose_engine(name).name for name in ("a.safetensors", "a.ONNX", "a.box", "a", "a.bin")}
    assert names == {
        "a.safetensors": "torch",
        "a.ONNX": "onnxruntime",
        "a.box": "fixed_box",
        "a": "torch",
        "a.bin": "torch",
    }
    assert engine_names()[0] == "auto" and "fixed_box" in engine_names()


@pytest.mark.parametrize(
    ("path", "name", "message"),
    [
        ("a.safetensors", "caffe", "engine 'caffe' is unknown: expected one of auto, torch, onnxruntime"),
        ("a.onnx", "torch", "engine 'torch' runs .safetensors files, not 'a.onnx'"),
        ("a.safetensors", "onnxruntime", "engine 'onnxruntime' runs .onnx files, not 'a.safetensors'"),
    ],
)
def test_an_engine_that_cannot_run_the_file_is_refused_in_one_sentence(path: str, name: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        choose_engine(path, name)


def test_an_engine_that_is_not_installed_names_the_package_and_the_remedy(tmp_path: Path) -> None:
    register_engine(
        EngineKind(
            "tpu", "absent_engine", "absent_metadata", (".tpu",), "Edge TPU", ("absent_tpu",), "install it with 'apt'"
        )
    )
    try:
        with pytest.raises(
            EngineError, match=r"m\.tpu' needs Edge TPU, which is not installed \(no absent_tpu\): inst"
        ):
            load_engine(tmp_path / "m.tpu")
    finally:
        unregister_engine("tpu")


def test_a_name_is_registered_once() -> None:
    for name in ("torch", "auto"):
        with pytest.raises(ValueError, match=f"engine '{name}' is registered already"):
            register_engine(EngineKind(name, "m", "m", (), "t", (), "r"))


def test_a_predictor_of_an_exported_file_uses_the_engine_of_its_suffix(
    loaded: list[tuple[Path, EngineOptions]], tmp_path: Path
) -> None:
    predictor = Predictor.from_checkpoint(tmp_path / "m.box", "cpu", "fp32", threads=3)
    assert loaded == [(tmp_path / "m.box", EngineOptions("cpu", "fp32", 3))]
    assert (
        predictor.engine.name == "fixed_box"
        and predictor.device == "cpu"
        and predictor.modalities == ("rgb", "thermal")
    )
    assert predictor.engine_description == "fixed_box 1.0, int8"
    found = predictor.predict({"rgb": np.zeros((128, 192, 3), np.uint8)})
    np.testing.assert_array_equal(found.boxes, [[16, 16, 80, 80]])
    # Temperature 0.5 squares the odds of 0.9: 81 to 1.
    np.testing.assert_allclose(found.scores, [81 / 82], rtol=1e-6)
    images = predictor.engine.seen[-1]  # type: ignore[attr-defined]
    assert {name: (image.shape, image.dtype) for name, image in images.items()} == {
        "rgb": ((1, 3, 64, 96), np.uint8),
        "thermal": ((1, 1, 64, 96), np.uint8),
    }


def test_metadata_is_read_by_the_module_of_the_file(loaded: list[tuple[Path, EngineOptions]], tmp_path: Path) -> None:
    assert read_model_document(tmp_path / "m.box").metadata == METADATA
    assert loaded == []
    with pytest.raises(CheckpointError, match=r"m\.safetensors' does not exist"):
        read_model_document(tmp_path / "m.safetensors")


def test_without_its_calibration_the_scores_are_those_of_the_engine(
    loaded: list[tuple[Path, EngineOptions]], tmp_path: Path
) -> None:
    predictor = Predictor.from_checkpoint(tmp_path / "m.box", calibrated=False)
    found = predictor.predict_batch([{"rgb": np.zeros((64, 96, 3), np.uint8)}] * 3)
    assert [item.scores.tolist() for item in found] == [[np.float32(0.9)]] * 3


def test_a_problem_of_the_engine_is_an_error_and_no_empty_result() -> None:
    predictor = Predictor(FixedBox("the output is not finite: buy another"), METADATA)
    with pytest.raises(NonFiniteOutputError, match="buy another"):
        predictor.predict({"rgb": np.zeros((64, 96, 3), np.uint8)})


def test_a_negative_number_of_threads_is_refused() -> None:
    with pytest.raises(ValueError, match="number of threads is -1: expected 0"):
        EngineOptions(threads=-1)


@pytest.mark.parametrize("modalities", [None, [], {}, {"rgb": "3"}, {"rgb": True}, "rgb"])
def test_modalities_that_an_engine_cannot_use_are_refused(modalities: Any) -> None:
    text = '{"format": 2, "model": {}, "class_names": ["a"], "input_size": [64, 64]}'
    document = parse_metadata_text(text, "model 'x.onnx'")
    document.model["modalities"] = modalities  # type: ignore[index]
    with pytest.raises(CheckpointError, match=r"model 'x\.onnx' has unusable metadata \(modalities are"):
        document.modalities()


def test_several_thresholds_need_one_pass_through_the_network(
    loaded: list[tuple[Path, EngineOptions]], tmp_path: Path
) -> None:
    predictor = Predictor.from_checkpoint(tmp_path / "m.box")
    every, none = Thresholds(score_threshold=0.0, multi_label=True), Thresholds(score_threshold=0.999)
    image = {"rgb": np.zeros((64, 96, 3), np.uint8)}
    found = predictor.predict_for(image, [every, none, Thresholds(classes=("car",), score_threshold=0.01)])
    assert [item.labels.tolist() for item in found] == [[0, 1], [], [1]]
    assert len(predictor.engine.seen) == 1  # type: ignore[attr-defined]
