# SPDX-License-Identifier: Apache-2.0
"""Trainer, evaluator and node must prepare the same network input for a pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fusion_mamba_ros.datasets import Augmentation, AugmentationConfig, PairedDataset, PreparedDataset, Sample
from fusion_mamba_ros.evaluation.evaluate import evaluate
from fusion_mamba_ros.network import ModelConfig
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata
from fusion_mamba_ros.perception.detections import Mode
from fusion_mamba_ros.perception.letterbox import PADDING_LEVEL
from fusion_mamba_ros.perception.predictor import Predictor
from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling
from fusion_mamba_ros.training.batches import collate
from fusion_mamba_ros.training.recipe import Recipe
from fusion_mamba_ros.training.trainer import detection_loss
from fusion_mamba_ros.training.validation import Validation

Size = tuple[int, int]
WHITE_HOT = ThermalScaling()


class Recorder(nn.Module):
    """Stand-in for the network that keeps its inputs and detects nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.config = ModelConfig(classes=1, modalities={"rgb": 3, "thermal": 1})
        self.seen: list[dict[str, Tensor]] = []

    def forward(self, images: dict[str, Tensor]) -> list[Tensor]:
        self.seen.append(images)
        return list(images.values())

    def __deepcopy__(self, memo: dict[str, Any]) -> Recorder:
        return self

    def decode(self, levels: list[Tensor]) -> Tensor:
        return torch.zeros(len(levels[0]), 1, 5)


class OnePair:
    """The record of one pair that is in memory."""

    name, group = "pair", ""
    modalities = ("rgb", "thermal")

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.homographies = sample.homographies

    def read(self, class_names: Sequence[str]) -> tuple[Sample, list[Any]]:
        return self.sample, []


def soft_image(size: Size, seed: int, channels: int) -> np.ndarray:
    """Return an image (H, W, channels) without detail that resampling would lose."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 10, channels), dtype=np.uint8)
    image: np.ndarray = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    return image.reshape(size[1], size[0], channels)


def soft_pair(rgb_size: Size, thermal_size: Size, depth: type = np.uint8) -> Sample:
    thermal = soft_image(thermal_size, 1, 1)[:, :, 0]
    if depth is np.uint16:
        thermal = 29000 + 4 * thermal.astype(np.uint16)
    return Sample(
        "pair",
        {"rgb": soft_image(rgb_size, 0, 3), "thermal": thermal},
        np.array([[8, 8, 40, 40]], np.float32),
        np.zeros(1, int),
    )


def shown_in_training(sample: Sample, size: Size, scaling: ThermalScaling = WHITE_HOT) -> dict[str, Tensor]:
    prepared = PreparedDataset(PairedDataset([OnePair(sample)], ("thing",)), size, scaling=scaling)
    plain = Augmentation(AugmentationConfig.none(size))(prepared, 0, np.random.default_rng(0))
    return collate([plain], {"rgb": 3, "thermal": 1}).inputs(torch.device("cpu"), channels_last=False)


def predictor_of(size: Size) -> tuple[Predictor, Any]:
    recorder: Any = Recorder()
    return Predictor.from_model(recorder, CheckpointMetadata(("thing",), size), device="cpu"), recorder


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("rgb_size", "thermal_size", "size"),
    [
        ((320, 256), (320, 256), (320, 256)),
        ((320, 240), (160, 120), (320, 256)),  # padding above and below
        ((240, 256), (240, 256), (320, 256)),  # padding left and right
        ((400, 320), (320, 256), (320, 256)),
        ((1280, 1024), (640, 512), (640, 512)),  # shrunk in two steps for training, in one for inference
        ((1000, 700), (640, 512), (320, 320)),
    ],
)
def test_training_and_inference_show_the_network_the_same(
    rgb_size: tuple[int, int],
    thermal_size: tuple[int, int],
    size: tuple[int, int],
    depth: type[np.uint8] | type[np.uint16],
) -> None:
    sample = soft_pair(rgb_size, thermal_size, depth)
    predictor, recorder = predictor_of(size)
    predictor.predict({"rgb": sample.images["rgb"], "thermal": sample.images["thermal"]})
    trained, served = shown_in_training(sample, size), recorder.seen[0]
    for name in ("rgb", "thermal"):
        assert trained[name].shape == served[name].shape and trained[name].dtype == served[name].dtype
        difference = 255 * (trained[name] - served[name]).abs()
        # The bound is a quarter of the change that a shift of half a pixel causes, or the rounding.
        half_pixel = 255 * (served[name][..., 1:] - served[name][..., :-1]).abs().mean() / 2
        assert float(difference.mean()) < max(0.6, float(half_pixel) / 4)
        assert float(difference.quantile(0.999)) <= 4


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("method", ["percentile", "range", "passthrough"])
def test_black_hot_camera_is_the_same_to_trainer_validation_and_node(
    method: str, depth: type[np.uint8] | type[np.uint16], tmp_path: Path
) -> None:
    size = (320, 256)
    sample = soft_pair(size, size, depth)
    scaling = ThermalScaling(method, range_min=29000, range_max=30100, polarity="black_hot")
    metadata = CheckpointMetadata(("thing",), size, scaling)
    recorder: Any = Recorder()
    prepared = PreparedDataset(PairedDataset([OnePair(sample)], ("thing",)), size, scaling=scaling)
    loss = detection_loss(Recipe())
    Validation(prepared, metadata, loss, device=torch.device("cpu"), batch_size=1, drawn=1).draw(recorder)
    Predictor.from_model(recorder, metadata, device="cpu").predict(
        {"rgb": sample.images["rgb"], "thermal": sample.images["thermal"]}
    )
    validated, served = (seen["thermal"] for seen in recorder.seen)
    assert torch.equal(validated, served)
    assert torch.equal(shown_in_training(sample, size, scaling)["thermal"], served)
    # Higher counts of a black-hot camera must become lower grey levels.
    counts = torch.from_numpy(sample.images["thermal"].astype(np.float32)).flatten()
    assert method == "passthrough" or float(torch.corrcoef(torch.stack([counts, served.flatten()]))[0, 1]) < -0.9


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_registered_pair_is_the_same_to_trainer_evaluator_and_node(depth: type[np.uint8] | type[np.uint16]) -> None:
    homography = np.array([[0.8, 0.02, 0.15], [0.0, 0.9, 0.02], [0.0, 0.0, 1.0]])
    sample = replace(soft_pair((320, 240), (160, 128), depth), homographies={"thermal": homography})
    predictor, recorder = predictor_of((320, 256))
    evaluate(predictor.predict_batch, PairedDataset([OnePair(sample)], ("thing",)), [Mode.FUSED, Mode.THERMAL_ONLY])
    node = Predictor.from_model(recorder, predictor.metadata, device="cpu", homography=homography)
    node.predict({"rgb": sample.images["rgb"], "thermal": sample.images["thermal"]})
    *evaluated, served = (seen["thermal"] for seen in recorder.seen)
    assert all(torch.equal(thermal, served) for thermal in evaluated)
    difference = 255 * (shown_in_training(sample, (320, 256))["thermal"] - served).abs()
    assert float(difference.max()) <= 2
    assert bool((255 * served[..., :8] == PADDING_LEVEL).all())


@pytest.mark.parametrize("mode", list(Mode))
def test_the_evaluator_shows_what_the_node_shows_when_a_camera_is_missing(mode: Mode) -> None:
    sample = soft_pair((640, 480), (320, 256), np.uint16)
    predictor, recorder = predictor_of((320, 256))
    evaluate(predictor.predict_batch, PairedDataset([OnePair(sample)], ("thing",)), [mode])
    # The node keeps the size of the last RGB image and passes the images that have arrived.
    images = {
        Mode.FUSED: {"rgb": sample.images["rgb"], "thermal": sample.images["thermal"]},
        Mode.RGB_ONLY: {"rgb": sample.images["rgb"]},
        Mode.THERMAL_ONLY: {"thermal": sample.images["thermal"]},
    }[mode]
    predictor.predict(images, reference_size=(640, 480))
    evaluated, served = recorder.seen
    for name in ("rgb", "thermal"):
        assert torch.equal(evaluated[name], served[name])
        assert bool(served[name].any()) == (name in images)


def test_a_stream_dropped_in_training_is_what_a_missing_camera_is() -> None:
    sample = soft_pair((320, 256), (320, 256))
    predictor, recorder = predictor_of((320, 256))
    dropping = replace(AugmentationConfig.none((320, 256)), modality_dropout={"rgb": 1.0})
    changed = Augmentation(dropping)([sample], 0, np.random.default_rng(0))
    predictor.predict({"thermal": sample.images["thermal"]}, reference_size=(320, 256))
    trained = collate([changed], {"rgb": 3, "thermal": 1}).inputs(torch.device("cpu"), channels_last=False)
    for name in ("rgb", "thermal"):
        torch.testing.assert_close(trained[name], recorder.seen[0][name], atol=1 / 255, rtol=0)
