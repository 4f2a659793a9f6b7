# SPDX-License-Identifier: Apache-2.0
"""One engine under several predictors and threads: each gets what it would get alone."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("rclpy")

from operator_library import compiled_library

from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.checkpoint_metadata import CheckpointMetadata
from fusion_mamba_ros.perception.default_checkpoint import default_checkpoint
from fusion_mamba_ros.perception.engine import Engine, EngineOptions
from fusion_mamba_ros.perception.engine_loading import load_engine
from fusion_mamba_ros.perception.predictor import Predictor, Thresholds
from fusion_mamba_ros.perception.torch_engine import TorchEngine
from fusion_mamba_ros.ros.detector.inference_threads import inference_threads, threads_of_each
from fusion_mamba_ros.ros.detector.parameters import SPECS, DetectorParameters
from fusion_mamba_ros.ros.detector.predictor_loading import share_engine

SMALL = CheckpointMetadata(("person", "car"), (64, 64))


def parameters(**changes: Any) -> DetectorParameters:
    return DetectorParameters.from_values({spec.name: spec.default for spec in SPECS} | changes)


def small_engine(precision: str = "fp32") -> TorchEngine:
    torch.manual_seed(0)
    return TorchEngine(FusionMambaDetector(ModelConfig(classes=2)), device="cpu", precision=precision)


def images(seed: int, size: tuple[int, int]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    width, height = size
    return {
        "rgb": rng.integers(0, 256, (1, height, width, 3), np.uint8).transpose(0, 3, 1, 2),
        "thermal": rng.integers(0, 256, (1, height, width, 1), np.uint8).transpose(0, 3, 1, 2),
    }


def in_threads(engine: Engine, batches: list[list[dict[str, np.ndarray]]]) -> list[list[np.ndarray]]:
    """Return the rows for each list of images, all lists at the same time."""
    rows: list[list[np.ndarray]] = [[] for _ in batches]
    barrier = threading.Barrier(len(batches))

    def run(index: int) -> None:
        barrier.wait(30)
        for batch in batches[index]:
            rows[index].append(engine.run(batch).rows)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return rows


@pytest.mark.parametrize("name", ["torch", "torch bf16", "onnxruntime"])
def test_threads_that_call_one_engine_at_once_get_what_they_get_alone(name: str) -> None:
    engine: Engine
    if name.startswith("torch"):
        engine, size, count = small_engine(name.removeprefix("torch").strip() or "fp32"), SMALL.input_size, 10
    else:
        pytest.importorskip("onnxruntime")
        compiled_library()
        engine, metadata = load_engine(default_checkpoint().with_suffix(".onnx"), name, EngineOptions(threads=1))
        size, count = metadata.input_size, 1
    assert getattr(engine, "is_reentrant")  # noqa: B009  # Optional, so the interface does not have it.
    batches = [[images(10 * thread + number, size) for number in range(count)] for thread in range(2)]
    expected = [[engine.run(batch).rows for batch in of_thread] for of_thread in batches]
    for found, alone in zip(in_threads(engine, batches), expected, strict=True):
        assert len(found) == count
        for rows, its_own in zip(found, alone, strict=True):
            assert (rows == its_own).all()


def test_predictors_that_share_an_engine_lose_different_cameras_at_the_same_time() -> None:
    first = Predictor(small_engine(), SMALL, thresholds=Thresholds(score_threshold=0.0, max_detections=50))
    predictors = [first, Predictor(first.engine, SMALL, thresholds=first.thresholds)]
    rng = np.random.default_rng(2)
    pair = {"rgb": rng.integers(0, 256, (64, 64, 3), np.uint8), "thermal": rng.integers(0, 256, (64, 64), np.uint8)}
    rgb, thermal = ({name: pair[name]} for name in ("rgb", "thermal"))
    orders = [[rgb, pair, thermal, rgb], [thermal, rgb, pair, thermal]]
    expected = [[first.predict(images).boxes for images in order] for order in orders]
    found: list[list[np.ndarray]] = [[], []]

    def run(index: int) -> None:
        found[index] = [predictors[index].predict(images).boxes for images in orders[index]]

    threads = [threading.Thread(target=run, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for boxes, alone in zip(found, expected, strict=True):
        assert len(boxes) == 4 and all((a == b).all() for a, b in zip(boxes, alone, strict=True))


def test_predictors_that_share_an_engine_have_thresholds_homography_and_scaling_of_their_own() -> None:
    first = Predictor(small_engine(), SMALL, thresholds=Thresholds(score_threshold=0.5), stream=True)
    homography = [1.0, 0.0, 0.1, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    second = share_engine(
        first,
        parameters(
            **{"score_threshold": 0.001, "registration.homography": homography, "thermal.polarity": "black_hot"}
        ),
    )
    assert second.engine is first.engine
    assert (first.thresholds.score_threshold, second.thresholds.score_threshold) == (0.5, 0.001)
    assert first.homography[0, 2] == 0 and second.homography[0, 2] == 0.1
    assert (first.thermal_scaling.polarity, second.thermal_scaling.polarity) == ("white_hot", "black_hot")
    # The window of thermal counts follows the images of one predictor only.
    rng = np.random.default_rng(1)
    cold, hot = (rng.integers(low, low + 500, (64, 64)).astype(np.uint16) for low in (1000, 30_000))
    alone = share_engine(first, parameters(score_threshold=0.0))
    shared = share_engine(first, parameters(score_threshold=0.0))
    for _ in range(2):
        shared.predict({"thermal": cold})
        first.predict({"thermal": hot})
    for _ in range(2):
        alone.predict({"thermal": cold})
    assert (shared.predict({"thermal": cold}).boxes == alone.predict({"thermal": cold}).boxes).all()


@pytest.mark.parametrize(
    ("threads", "pairs", "cores", "each", "inferences"),
    [
        (0, 1, 8, 0, 1),
        (4, 1, 8, 4, 1),
        (0, 2, 8, 4, 2),
        (0, 3, 8, 2, 3),
        (0, 4, 2, 1, 2),
        (6, 2, 2, 3, 2),
        (1, 3, 8, 1, 1),
    ],
)
def test_the_threads_are_divided_among_the_pairs(
    monkeypatch: pytest.MonkeyPatch, threads: int, pairs: int, cores: int, each: int, inferences: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process_id: set(range(cores)))
    given = parameters(threads=threads)
    assert threads_of_each(given, pairs).threads == each
    reentrant = SimpleNamespace(engine=SimpleNamespace(is_reentrant=True))
    assert inference_threads(reentrant, given, pairs) == inferences
    assert inference_threads(SimpleNamespace(engine=SimpleNamespace()), given, pairs) == 1
    assert inference_threads(SimpleNamespace(), given, pairs) == 1
