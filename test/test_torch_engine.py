# SPDX-License-Identifier: Apache-2.0
"""The PyTorch engine: rows, images, calibration and memory errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.calibration import Calibration
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata, save_checkpoint
from fusion_mamba_ros.perception.engine import EngineOptions
from fusion_mamba_ros.perception.predictor import Predictor, Thresholds
from fusion_mamba_ros.perception.threads import set_threads
from fusion_mamba_ros.perception.torch_engine import TorchEngine, calibrated_scores, load_engine, to_tensor

METADATA = CheckpointMetadata(("person", "car"), (96, 64))


def small_model() -> FusionMambaDetector:
    torch.manual_seed(0)
    return FusionMambaDetector(ModelConfig(classes=2, fusion="add"))


def images(batch: int = 2) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(3)
    shapes = {"rgb": (batch, 64, 96, 3), "thermal": (batch, 64, 96, 1)}
    return {name: generator.integers(0, 256, shape, np.uint8).transpose(0, 3, 1, 2) for name, shape in shapes.items()}


def test_rows_are_what_the_model_decodes_and_the_engine_describes_itself() -> None:
    engine = TorchEngine(small_model(), device="cpu")
    output = engine.run(images())
    with torch.inference_mode():
        batch = {name: torch.from_numpy(np.ascontiguousarray(x)).float() / 255 for name, x in images().items()}
        expected = engine.model.decode(engine.model(batch))
    assert output.problem is None and output.rows.dtype == np.float32
    np.testing.assert_allclose(output.rows, expected.numpy(), rtol=1e-4, atol=1e-4)
    assert (engine.name, engine.device, engine.precision) == ("torch", "cpu", "fp32")
    assert dict(engine.modalities) == {"rgb": 3, "thermal": 1}
    assert engine.memory_mb() == {}


def test_images_become_floats_in_zero_to_one_in_their_memory_order() -> None:
    image = images(1)["rgb"]
    tensor = to_tensor(image, torch.device("cpu"))
    assert tensor.dtype == torch.float32 and tensor.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(tensor.numpy(), image.astype(np.float32) / np.float32(255))


def test_calibration_in_torch_and_in_numpy_are_the_same_formula() -> None:
    calibration = Calibration((0.5, 1.0, 2.7), 0.3)
    scores = np.random.default_rng(5).uniform(0, 1, (2, 700, 3)).astype(np.float32) ** 3
    scores[0, 0], scores[0, 1] = 0.0, 1.0
    in_torch = calibrated_scores(torch.from_numpy(scores), calibration).numpy()
    np.testing.assert_allclose(calibration.apply(scores), in_torch, rtol=2e-6, atol=1e-7)
    exact = scores.astype(np.float64)
    with np.errstate(divide="ignore"):
        exact = 1 / (1 + ((1 - exact) / exact) ** (1 / np.array(calibration.temperatures)))
    np.testing.assert_allclose(calibration.apply(scores), exact, rtol=2e-6, atol=1e-7)
    rows = np.concatenate((np.full((2, 700, 4), 7, np.float32), scores), axis=-1)
    np.testing.assert_array_equal(calibration.calibrate(rows)[..., :4], rows[..., :4])
    np.testing.assert_array_equal(calibration.calibrate(rows)[..., 4:], calibration.apply(scores))


def test_the_engine_applies_the_calibration_that_it_is_given() -> None:
    calibration = Calibration((0.5, 2.0), 0.3)
    engine = TorchEngine(small_model(), device="cpu")
    raw, calibrated = engine.run(images()).rows, engine.run(images(), calibration).rows
    np.testing.assert_allclose(calibrated, calibration.calibrate(raw), rtol=1e-5, atol=1e-7)
    assert np.abs(calibrated - raw)[..., 4:].max() > 1e-3


def test_exhausted_device_memory_is_a_memory_error(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TorchEngine(small_model(), device="cpu")

    def exhaust(_: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(engine.model, "forward", exhaust)
    with pytest.raises(MemoryError, match="CUDA out of memory"):
        engine.run(images())


@pytest.mark.parametrize(("threads", "expected"), [(3, 3), (None, 2)])
def test_threads_of_the_process_change_only_if_a_number_is_given(
    threads: int | None, expected: int, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "m.safetensors", small_model(), METADATA)
    try:
        set_threads(2)
        load_engine(tmp_path / "m.safetensors", EngineOptions("cpu", threads=threads))
        assert torch.get_num_threads() == expected
    finally:
        set_threads(0)


def test_a_predictor_still_takes_a_model_for_one_release() -> None:
    thresholds = Thresholds(score_threshold=0.0)
    with pytest.warns(DeprecationWarning, match="use Predictor.from_model"):
        old = Predictor(small_model(), METADATA, device="cpu", thresholds=thresholds)  # type: ignore[arg-type]
    new = Predictor.from_model(small_model(), replace(METADATA), device="cpu", thresholds=thresholds)
    rgb = images()["rgb"][0].transpose(1, 2, 0)
    np.testing.assert_array_equal(old.predict({"rgb": rgb}).boxes, new.predict({"rgb": rgb}).boxes)
    with pytest.raises(ValueError, match="device and precision belong to the engine"):
        Predictor(new.engine, METADATA, device="cpu")
