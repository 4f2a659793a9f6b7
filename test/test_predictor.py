# SPDX-License-Identifier: Apache-2.0
"""The predictor: coordinates, missing images, modalities and image preparation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bright_rectangle import CLASSES, METADATA, filled_image, model_of, rgb_image, stand_in

from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.checkpoint import CheckpointError, CheckpointMetadata, save_checkpoint
from fusion_mamba_ros.perception.detections import Mode
from fusion_mamba_ros.perception.predictor import Predictor, Thresholds
from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling


@pytest.fixture
def predictor() -> Predictor:
    return Predictor.from_model(stand_in(), METADATA, device="cpu")


@pytest.mark.parametrize("rgb_size", [(640, 480), (1280, 720), (320, 256), (301, 520)])
@pytest.mark.parametrize("thermal_size", [(640, 480), (160, 120), (640, 512), (81, 61)])
def test_boxes_are_in_rgb_pixels_whatever_the_sizes(
    predictor: Predictor, rgb_size: tuple[int, int], thermal_size: tuple[int, int]
) -> None:
    fractions = np.array([0.25, 0.3, 0.6, 0.7])
    boxes = [(fractions * np.array(size * 2)).round().astype(int) for size in (rgb_size, thermal_size)]
    result = predictor.predict(
        {"rgb": rgb_image(*rgb_size, boxes[0]), "thermal": filled_image(*thermal_size, boxes[1])}
    )
    by_class = dict(zip(result.labels.tolist(), result.boxes, strict=True))
    in_canvas_pixels = max(rgb_size[0] / 320, rgb_size[1] / 256)
    np.testing.assert_allclose(by_class[0], boxes[0], atol=1.6 * in_canvas_pixels)
    expected = boxes[1] * np.array(rgb_size * 2) / np.array(thermal_size * 2)
    np.testing.assert_allclose(by_class[1], expected, atol=1.6 * in_canvas_pixels + rgb_size[0] / thermal_size[0])
    assert result.mode is Mode.FUSED


def test_thermal_boxes_follow_the_homography() -> None:
    homography = np.array([[0.5, 0, 0.25], [0, 0.5, 0.25], [0, 0, 1]])
    predictor = Predictor.from_model(stand_in(), METADATA, device="cpu", homography=homography)
    thermal = filled_image(640, 512, (0, 0, 320, 256))
    result = predictor.predict({"rgb": rgb_image(), "thermal": thermal})
    np.testing.assert_allclose(result.boxes, [[160, 120, 320, 240]], atol=3)
    alone = predictor.predict({"thermal": thermal}, reference_size=(640, 480))
    np.testing.assert_allclose(alone.boxes, [[160, 120, 320, 240]], atol=3)


def test_without_any_reference_thermal_boxes_are_in_thermals_own_pixels() -> None:
    homography = np.array([[0.5, 0, 0.25], [0, 0.5, 0.25], [0, 0, 1]])
    predictor = Predictor.from_model(stand_in(), METADATA, device="cpu", homography=homography)
    result = predictor.predict({"thermal": filled_image(320, 256, (64, 32, 128, 96))})
    np.testing.assert_allclose(result.boxes, [[64, 32, 128, 96]], atol=1)


@pytest.mark.parametrize("missing,mode", [("rgb", Mode.THERMAL_ONLY), ("thermal", Mode.RGB_ONLY)])
@pytest.mark.parametrize("absent", [True, False])
def test_missing_image_is_a_map_of_zeros_and_is_said(
    predictor: Predictor, missing: str, mode: Mode, absent: bool
) -> None:
    images: dict[str, Any] = {"rgb": rgb_image(), "thermal": filled_image(640, 512)}
    images[missing] = None
    if absent:
        del images[missing]
    assert predictor.predict(images).mode is mode
    seen = model_of(predictor).seen[-1]
    assert not seen[missing].any()
    other = "rgb" if missing == "thermal" else "thermal"
    assert seen[other].min() > 0


@pytest.mark.parametrize("modality,mode", [("rgb", Mode.RGB_ONLY), ("thermal", Mode.THERMAL_ONLY)])
def test_checkpoint_of_one_modality_takes_a_pair_and_looks_at_its_own(modality: str, mode: Mode) -> None:
    predictor = Predictor.from_model(stand_in([modality]), METADATA, device="cpu")
    box = (100, 100, 200, 200)
    result = predictor.predict({"rgb": rgb_image(box=box), "thermal": filled_image(640, 480, box)})
    assert result.mode is mode
    assert result.labels.tolist() == [0 if modality == "rgb" else 1]
    assert predictor.modes == (mode,)
    other = {"rgb": None, "thermal": filled_image(640, 480)} if modality == "rgb" else {"rgb": rgb_image()}
    with pytest.raises(ValueError, match=f"at least one of {modality}"):
        predictor.predict(other)


def test_three_channel_stem_gets_grey_three_times() -> None:
    model = stand_in({"rgb": 3, "thermal": 3})
    Predictor.from_model(model, METADATA, device="cpu").predict(
        {"rgb": rgb_image(), "thermal": filled_image(640, 480, (0, 0, 9, 9))}
    )
    thermal = model.seen[-1]["thermal"]
    assert thermal.shape == (1, 3, 256, 320)
    assert torch.equal(thermal[:, 0], thermal[:, 1])
    assert torch.equal(thermal[:, 0], thermal[:, 2])


def test_sixteen_bit_and_black_hot_thermal_reach_the_network_white_hot() -> None:
    counts = filled_image(640, 480).astype(np.uint16) * 100
    counts[100:200, 100:200] = 1000
    scaling = ThermalScaling(polarity="black_hot")
    predictor = Predictor.from_model(stand_in(), METADATA, device="cpu", thermal=scaling)
    result = predictor.predict({"rgb": rgb_image(), "thermal": counts})
    np.testing.assert_allclose(result.boxes, [[100, 100, 200, 200]], atol=2)


def test_network_sees_rgb_order_and_values_in_zero_to_one(predictor: Predictor) -> None:
    rgb = np.zeros((256, 320, 3), np.uint8)
    rgb[...] = (255, 51, 0)
    predictor.predict({"rgb": rgb})
    np.testing.assert_allclose(model_of(predictor).seen[-1]["rgb"][0, :, 5, 5], [1.0, 0.2, 0.0], atol=1e-6)


def test_batch_gives_what_each_pair_gives_alone(predictor: Predictor) -> None:
    box = (60, 60, 160, 160)
    pairs: list[dict[str, Any]] = [
        {"rgb": rgb_image(640, 480, box), "thermal": filled_image(320, 256, (10, 10, 30, 30))},
        {"rgb": rgb_image(300, 400, box), "thermal": None},
        {"rgb": rgb_image(1000, 400, box), "thermal": filled_image(80, 60, (10, 10, 30, 30))},
    ]
    together = predictor.predict_batch(pairs)
    assert [result.mode for result in together] == [Mode.FUSED, Mode.RGB_ONLY, Mode.FUSED]
    assert [len(result) for result in together] == [2, 1, 2]
    for pair, result in zip(pairs, together, strict=True):
        alone = predictor.predict(pair)
        np.testing.assert_array_equal(alone.boxes, result.boxes)
        np.testing.assert_array_equal(alone.labels, result.labels)
    assert predictor.predict_batch([]) == []


@pytest.mark.parametrize(
    "images,message",
    [
        ({}, "no image for the model"),
        ({"rgb": None, "thermal": None}, "no image for the model"),
        ({"rgb": np.zeros((0, 10, 3), np.uint8)}, "rgb image has shape"),
        ({"rgb": np.zeros((10, 10), np.uint8)}, "rgb image has shape"),
        ({"rgb": np.zeros((10, 10, 3), np.float32)}, "rgb image has shape"),
        ({"thermal": np.zeros((10, 0), np.uint16)}, "thermal image has shape"),
        ({"depth": np.zeros((10, 10), np.uint16)}, "unknown image depth"),
    ],
)
def test_malformed_input_is_one_sentence(predictor: Predictor, images: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        predictor.predict(images)


def test_warm_up_runs_every_mode_once_and_returns_the_seconds_of_each(predictor: Predictor) -> None:
    seconds = predictor.warm_up()
    assert len(seconds) == 3 and min(seconds) > 0
    zeroed = [{name: not tensor.any() for name, tensor in images.items()} for images in model_of(predictor).seen]
    assert len(zeroed) == 3
    assert len(model_of(predictor).seen) == len(predictor.modes)


def test_times_of_the_stages_are_there_after_a_prediction(predictor: Predictor) -> None:
    predictor.predict({"rgb": rgb_image()})
    assert min(predictor.times.preprocess_ms, predictor.times.inference_ms, predictor.times.postprocess_ms) > 0


def test_predictor_of_a_file_predicts(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "model.safetensors"
    save_checkpoint(
        path, FusionMambaDetector(ModelConfig(classes=2, fusion="add")), CheckpointMetadata(CLASSES, (96, 64))
    )
    predictor = Predictor.from_checkpoint(path, device="cpu", thresholds=Thresholds(score_threshold=0.0))
    result = predictor.predict({"rgb": rgb_image(), "thermal": filled_image(640, 512)})
    assert len(result) > 0
    assert (result.boxes[:, :2] >= 0).all()
    assert (result.boxes[:, 2:] <= (640, 480)).all()
    assert (np.diff(result.scores) <= 0).all()


def test_model_of_an_unknown_modality_is_refused() -> None:
    with pytest.raises(CheckpointError, match="inputs for the modalities radar"):
        Predictor.from_model(stand_in(["rgb", "radar"]), METADATA, device="cpu")
