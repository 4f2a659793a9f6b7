# SPDX-License-Identifier: Apache-2.0
"""A missing image costs no backbone, and changes nothing in the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import pytest
import torch

from fusion_mamba_ros.network import OPERATORS, FusionMambaDetector, ModelConfig
from fusion_mamba_ros.network.absent_streams import AbsentStreams
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata
from fusion_mamba_ros.perception.missing_images import missing_images
from fusion_mamba_ros.perception.modality import Modality, linear_levels, register_modality, unregister_modality
from fusion_mamba_ros.perception.predictor import Predictor, Thresholds
from fusion_mamba_ros.perception.torch_engine import TorchEngine

Batch = dict[str, npt.NDArray[np.uint8]]
SETTINGS = {"fusion_mamba": {"dssf_count": 1}, "cft": {"layers": 1}, "icafusion": {"grid": 4}}
UNCHANGED_STREAMS = ("add", "concat", "icafusion")
CASES = [(fusion, "yolov8") for fusion in sorted(OPERATORS)] + [("add", "yolov5"), ("add", "efficientnet_lite0")]


def model_of(fusion: str = "add", backbone: str = "yolov8", **fields: object) -> FusionMambaDetector:
    torch.manual_seed(0)
    section = {fusion: SETTINGS[fusion]} if fusion in SETTINGS else {}
    config = ModelConfig.from_dict({"fusion": fusion, "backbone": backbone, "classes": 2, **section, **fields})
    model = FusionMambaDetector(config)
    with torch.no_grad():
        for buffer in model.buffers():  # running statistics of a trained model are not 0 and 1
            if buffer.is_floating_point():
                buffer.add_(0.1 * torch.rand_like(buffer))
    return model


def images(*absent: set[str], channels: dict[str, int] | None = None, seed: int = 3) -> Batch:
    """Return a batch with one image for each set of missing modalities."""
    generator = np.random.default_rng(seed)
    batch = {}
    for name, count in (channels or {"rgb": 3, "thermal": 1}).items():
        array = generator.integers(0, 256, (len(absent), 64, 96, count), np.uint8)
        for row, missing in enumerate(absent):
            if name in missing:
                array[row] = 0
        batch[name] = array.transpose(0, 3, 1, 2)
    return batch


def full_rows(engine: TorchEngine, batch: Batch) -> npt.NDArray[np.float32]:
    """Return the rows of the computation that skips nothing."""
    tensors = {name: torch.from_numpy(np.ascontiguousarray(image)).float() / 255 for name, image in batch.items()}
    with torch.inference_mode():
        channels_last = {name: x.contiguous(memory_format=torch.channels_last) for name, x in tensors.items()}
        return np.asarray(engine.model.decode(engine.model(channels_last)).numpy())


@contextmanager
def counted_sections(model: FusionMambaDetector, name: str) -> Iterator[list[int]]:
    """Give the batch sizes of the calls of the backbone sections of one stream."""
    calls: list[int] = []
    hooks = [
        section.register_forward_hook(lambda _, args, out: calls.append(len(out)))
        for section in model.backbones[name].sections
    ]
    yield calls
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize(("fusion", "backbone"), CASES)
@pytest.mark.parametrize("absent", ["rgb", "thermal"])
def test_one_camera_gives_the_result_of_the_full_computation(fusion: str, backbone: str, absent: str) -> None:
    engine = TorchEngine(model_of(fusion, backbone), device="cpu")
    batch = images({absent})
    expected = full_rows(engine, batch)
    first, again = engine.run(batch).rows, engine.run(batch).rows
    np.testing.assert_allclose(first, expected, rtol=1e-6, atol=1e-5)
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("fusion", sorted(OPERATORS))
def test_the_second_prediction_with_one_camera_computes_no_known_section(fusion: str) -> None:
    engine = TorchEngine(model_of(fusion), device="cpu")
    engine.run(images({"rgb"}))
    with counted_sections(engine.model, "rgb") as absent, counted_sections(engine.model, "thermal") as present:
        engine.run(images({"rgb"}, seed=4))
    # The other operators mix the streams, so that the second section depends on the camera that is left.
    assert absent == ([] if fusion in UNCHANGED_STREAMS else [1, 1])
    assert present == [1, 1, 1]


@pytest.mark.parametrize("fusion", ["add", "concat", "fusion_mamba"])
def test_a_batch_of_mixed_modes_gives_the_result_of_the_full_computation(fusion: str) -> None:
    engine = TorchEngine(model_of(fusion), device="cpu")
    batch = images(set(), {"rgb"}, {"thermal"}, {"rgb"}, set())
    np.testing.assert_allclose(engine.run(batch).rows, full_rows(engine, batch), rtol=1e-5, atol=1e-4)
    with counted_sections(engine.model, "rgb") as calls:
        engine.run(batch)
    assert calls == ([3, 3, 3] if fusion != "fusion_mamba" else [3, 5, 5])


def test_a_batch_of_one_mode_and_a_single_image_share_the_features() -> None:
    engine = TorchEngine(model_of("add"), device="cpu")
    engine.run(images({"rgb"}))
    batch = images({"rgb"}, {"rgb"}, {"rgb"})
    with counted_sections(engine.model, "rgb") as calls:
        rows = engine.run(batch).rows
    assert calls == []
    np.testing.assert_allclose(rows, full_rows(engine, batch), rtol=1e-5, atol=1e-4)


def _load_other_weights(model: FusionMambaDetector) -> None:
    generator = torch.Generator().manual_seed(1)
    state = {
        name: x + 0.05 * torch.randn(x.shape, generator=generator) if x.is_floating_point() else x
        for name, x in model.state_dict().items()
    }
    model.load_state_dict(state)


def _change_one_bias(model: FusionMambaDetector) -> None:
    with torch.no_grad():
        # The first filter sees zeros; the last bias of the first section changes all that follows.
        tensors = dict(model.backbones["rgb"].sections[0].named_parameters())
        list(tensors.values())[-1].add_(0.5)


def _go_to_double_and_back(model: FusionMambaDetector) -> None:
    _change_one_bias(model)
    model.double()
    model.float()


@pytest.mark.parametrize("change", [_load_other_weights, _change_one_bias, _go_to_double_and_back])
def test_features_are_computed_again_after_the_weights_changed(change: Callable[[FusionMambaDetector], None]) -> None:
    engine = TorchEngine(model_of("add"), device="cpu")
    batch = images({"rgb"})
    before = engine.run(batch).rows
    change(engine.model)
    after = engine.run(batch).rows
    assert np.abs(after - before).max() > 1e-4
    np.testing.assert_allclose(after, full_rows(engine, batch), rtol=1e-5, atol=1e-4)


def test_features_are_computed_again_for_another_dtype_canvas_and_precision() -> None:
    network = AbsentStreams(model_of("add").eval())
    batch = {name: torch.from_numpy(np.ascontiguousarray(x)).float() / 255 for name, x in images({"rgb"}).items()}
    with torch.inference_mode():
        single = network(batch, {"rgb": [True]})
        network.model.double()
        double = network({name: x.double() for name, x in batch.items()}, {"rgb": [True]})
        assert all(x.dtype == torch.float64 for x in double)
        for x, y in zip(single, double, strict=True):
            torch.testing.assert_close(x, y.float(), rtol=1e-3, atol=1e-3)
        network.model.float()
        smaller = {name: x[..., :64, :64] for name, x in batch.items()}
        for x, y in zip(network(smaller, {"rgb": [True]}), network.model(smaller), strict=True):
            torch.testing.assert_close(x, y)
        with torch.autocast("cpu", torch.bfloat16):
            half, whole = network(batch, {"rgb": [True]}), network.model(batch)
        for x, y in zip(half, whole, strict=True):
            torch.testing.assert_close(x, y)


def test_training_and_gradients_reuse_nothing() -> None:
    model = model_of("add")
    network = AbsentStreams(model)
    batch = {name: torch.from_numpy(np.ascontiguousarray(x)).float() / 255 for name, x in images({"rgb"}).items()}
    for training in (True, False):
        model.train(training)
        for _ in range(2):
            with counted_sections(model, "rgb") as calls:
                torch.stack([level.sum() for level in network(batch, {"rgb": [True]})]).sum().backward()
            assert calls == [1, 1, 1]
        assert next(iter(model.backbones["rgb"].parameters())).grad is not None


def test_a_black_image_of_a_present_camera_and_a_missing_one_are_the_same_input() -> None:
    batch = images({"rgb"}, set())
    assert missing_images(batch) == {"rgb": [True, False]}
    batch["rgb"][0, 2, 63, 95] = 1  # one pixel of one channel
    assert missing_images(batch) == {}


def test_the_missing_value_of_a_further_modality_is_found_and_part_of_the_key() -> None:
    depth = Modality("depth", linear_levels("depth", 0, 1000), missing_value=255)
    register_modality(depth)
    try:
        engine = TorchEngine(model_of("add", modalities={"rgb": 3, "thermal": 1, "depth": 1}), device="cpu")
        batch = images({"thermal"}, channels={"rgb": 3, "thermal": 1, "depth": 1})
        assert missing_images(batch) == {"thermal": [True]}
        engine.run(batch)
        batch["depth"][:] = 255
        assert missing_images(batch) == {"thermal": [True], "depth": [True]}
        np.testing.assert_allclose(engine.run(batch).rows, full_rows(engine, batch), rtol=1e-5, atol=1e-4)
        batch["depth"][:] = 0  # black is an image, as 255 is the missing value
        assert missing_images(batch) == {"thermal": [True]}
    finally:
        unregister_modality("depth")
    assert missing_images(batch) == {"thermal": [True]}
    register_modality(Modality("depth", linear_levels("depth", 0, 1000)))  # now with missing value 0
    try:
        np.testing.assert_allclose(engine.run(batch).rows, full_rows(engine, batch), rtol=1e-5, atol=1e-4)
    finally:
        unregister_modality("depth")


def test_a_predictor_that_changes_between_modes_finds_what_a_fresh_one_finds() -> None:
    metadata = CheckpointMetadata(("person", "car"), (96, 64))
    seed = 7
    generator = np.random.default_rng(seed)
    rgb = generator.integers(1, 256, (64, 96, 3), np.uint8)
    thermal = generator.integers(1, 256, (64, 96), np.uint8)
    calls = [{"thermal": thermal}, {"rgb": rgb, "thermal": thermal}, {"rgb": rgb}, {"thermal": thermal}]
    options = {"device": "cpu", "thresholds": Thresholds(score_threshold=0.0, max_detections=20)}
    kept = Predictor.from_model(model_of("add"), metadata, **options)  # type: ignore[arg-type]
    for number, call in enumerate(calls):
        fresh = Predictor.from_model(model_of("add"), metadata, **options)  # type: ignore[arg-type]
        found, expected = kept.predict(call), fresh.predict(call)
        assert found.mode == expected.mode, f"seed {seed}, call {number}"
        np.testing.assert_array_equal(found.boxes, expected.boxes)
        np.testing.assert_array_equal(found.scores, expected.scores)
