# SPDX-License-Identifier: Apache-2.0
"""The scan in standard ONNX operators, in ONNX Runtime, against the time loop in float64 and our operator."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scan_problems import random_map_arguments
from test_onnx_export import MODELS, export, write_checkpoint

from fusion_mamba_ros.deployment import onnxruntime_engine
from fusion_mamba_ros.deployment.onnx_graph import OnnxGraph
from fusion_mamba_ros.deployment.onnx_standard_scan import CHUNK, StandardScan
from fusion_mamba_ros.network.selective_scan.reference import scan_maps
from fusion_mamba_ros.perception.engine import EngineOptions
from fusion_mamba_ros.perception.engine_loading import load_engine

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

VARYING = ("u", "delta", "B", "C")


def scanned(arguments: list[torch.Tensor | None], *, softplus: bool = True) -> npt.NDArray[np.float32]:
    """Return y of a graph in standard operators, whose batch has no fixed size."""
    u, delta, A, B, C, D, delta_bias = arguments
    assert u is not None and delta is not None and A is not None and B is not None and C is not None
    graph = OnnxGraph()
    scan = StandardScan(graph, A.numpy(), *u.shape[1:])
    constants = (None if D is None else D.numpy(), None if delta_bias is None else delta_bias.numpy())
    graph.rename_output(scan.add(*VARYING, *constants, softplus=softplus), "y")
    values = dict(zip(VARYING, (u, delta, B, C), strict=True))
    inputs = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", *value.shape[1:]])
        for name, value in values.items()
    ]
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", *u.shape[1:]])
    model = graph.model(inputs, [output], {})
    assert {entry.domain for entry in model.opset_import} == {""}
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    y: npt.NDArray[np.float32] = session.run(None, {name: value.numpy() for name, value in values.items()})[0]
    return y


def expected(arguments: list[torch.Tensor | None], *, softplus: bool = True) -> npt.NDArray[np.float64]:
    u, delta, A, B, C, D, bias = (None if tensor is None else tensor.double() for tensor in arguments)
    assert B is not None and C is not None
    y: npt.NDArray[np.float64] = scan_maps(u, delta, A, B.unsqueeze(2), C.unsqueeze(2), D, bias, softplus).numpy()  # type: ignore[arg-type]
    return y


def test_it_agrees_with_the_time_loop_on_random_scans() -> None:
    seed = random.SystemRandom().randrange(2**31)
    choose = random.Random(seed)
    for _ in range(5):
        batch, channels, states = choose.randint(1, 2), choose.randint(1, 9), choose.randint(1, 17)
        height, width = choose.choices(range(1, 25), k=2)
        sizes = (batch, channels, states, height, width)
        directions, softplus = choose.randint(1, 4), choose.random() < 0.5
        without = choose.choice([(), (5,), (6,), (5, 6)])
        print(f"seed {seed}, sizes {sizes}, {directions} directions, softplus {softplus}, without {without}")
        arguments: list[torch.Tensor | None] = list(random_map_arguments(batch, channels, states, height, width, seed))
        for index in (1, 3, 4):
            arguments[index] = arguments[index][:, :directions]  # type: ignore[index]
        for index in (2, 5, 6):
            arguments[index] = arguments[index][:directions]  # type: ignore[index]
        if not softplus:
            arguments[1], arguments[6] = arguments[1].abs(), arguments[6].abs()  # type: ignore[union-attr]
        for index in without:
            arguments[index] = None
        reference = expected(arguments, softplus=softplus)
        assert np.abs(scanned(arguments, softplus=softplus) - reference).max() < 2e-5 * np.abs(reference).max()


@pytest.mark.parametrize("width", [1, CHUNK - 1, CHUNK, CHUNK + 1, CHUNK**2, CHUNK**2 + 1])
def test_it_agrees_at_the_borders_of_chunks(width: int) -> None:
    arguments: list[torch.Tensor | None] = list(random_map_arguments(1, 2, 3, 1, width, seed=5))
    reference = expected(arguments)
    assert np.abs(scanned(arguments) - reference).max() < 2e-5 * np.abs(reference).max()


@pytest.mark.parametrize("size", [1e-4, 30.0, 3000.0])
def test_long_maps_with_weak_and_with_strong_decay_stay_exact(size: float) -> None:
    # A division by cumulative products gives NaN here: after 40 steps of 30 they are below exp(-1200).
    arguments: list[torch.Tensor | None] = list(random_map_arguments(1, 2, 4, 40, 40, seed=7))
    arguments[1] = torch.full_like(arguments[1], size)  # type: ignore[arg-type]
    arguments[6] = None
    reference = expected(arguments, softplus=False)
    y = scanned(arguments, softplus=False)
    assert np.isfinite(y).all()
    assert np.abs(y - reference).max() < 2e-5 * np.abs(reference).max()


def test_a_model_exported_with_it_equals_pytorch_and_needs_no_operator_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, out = write_checkpoint(tmp_path / "a.safetensors", MODELS["fusion_mamba"]), tmp_path / "a.onnx"
    monkeypatch.setattr(onnxruntime_engine, "OPERATOR_LIBRARY", tmp_path / "absent.so")
    # The command compares with PyTorch.
    done = export(checkpoint, "--out", out, "--scan", "standard")
    assert done.exit_code == 0, done.output
    assert {entry.domain for entry in onnx.load(out).opset_import} == {""}
    engine, metadata = load_engine(out, options=EngineOptions(threads=1))
    width, height = metadata.input_size
    images = {name: np.zeros((3, channels, height, width), np.uint8) for name, channels in engine.modalities.items()}
    assert engine.run(images).problem is None
