# SPDX-License-Identifier: Apache-2.0
"""The selective scan as an operator of ONNX Runtime, against the time loop in float64."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from operator_library import compiled_library
from scan_problems import random_map_arguments

from fusion_mamba_ros.deployment.onnxruntime_engine import session_options
from fusion_mamba_ros.network.selective_scan.reference import scan_maps

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

NAMES = ("u", "delta", "A", "B", "C", "D", "delta_bias")
RANKS = (4, 5, 3, 5, 5, 2, 2)


@pytest.fixture(scope="module", autouse=True)
def library() -> Path:
    return compiled_library()


def session(present: Sequence[str] = NAMES, softplus: bool = True, threads: int = 2) -> Any:
    """Return a session that runs one operator with these inputs, all of unknown size."""
    names = [name if name in present else "" for name in NAMES]
    node = onnx.helper.make_node("selective_scan_2d", names, ["y"], domain="fusion_mamba", delta_softplus=int(softplus))
    inputs = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * rank)
        for name, rank in zip(NAMES, RANKS, strict=True)
        if name in present
    ]
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None] * 4)
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("fusion_mamba", 1)]
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "scan", inputs, [output]), opset_imports=opsets, ir_version=8
    )
    return onnxruntime.InferenceSession(model.SerializeToString(), session_options(threads))


def answer(arguments: Sequence[torch.Tensor | None], softplus: bool = True) -> np.ndarray:
    """Return y of the float64 time loop; B and C get their dimension of groups."""
    u, delta, A, B, C, D, bias = (None if tensor is None else tensor.double() for tensor in arguments)
    assert u is not None and delta is not None and A is not None and B is not None and C is not None
    return scan_maps(u, delta, A, B.unsqueeze(2), C.unsqueeze(2), D, bias, delta_softplus=softplus).numpy()


def feed(arguments: Sequence[torch.Tensor | None]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in zip(NAMES, arguments, strict=True) if tensor is not None}


def test_it_agrees_with_the_time_loop_on_random_scans() -> None:
    seed = random.SystemRandom().randrange(2**31)
    choose = random.Random(seed)
    for _ in range(6):
        sizes = [choose.randint(1, 2), choose.randint(1, 40), choose.randint(1, 17), *choose.choices(range(1, 40), k=2)]
        softplus, optional = choose.random() < 0.5, choose.choice([(), ("D",), ("delta_bias",), ("D", "delta_bias")])
        print(f"sizes {sizes}, softplus {softplus}, without {optional}")
        batch, channels, state_size, height, width = sizes
        arguments: list[Any] = list(random_map_arguments(batch, channels, state_size, height, width, seed))
        if not softplus:
            arguments[1], arguments[6] = arguments[1].abs(), arguments[6].abs()
        for name in optional:
            arguments[NAMES.index(name)] = None
        present = [name for name in NAMES if name not in optional]
        (y,) = session(present, softplus, choose.randint(1, 3)).run(None, feed(arguments))
        expected = answer(arguments, softplus)
        assert np.abs(y - expected).max() < 2e-5 * max(np.abs(expected).max(), 1e-30)


def test_nan_spreads_along_the_directions_of_its_own_channel_only() -> None:
    arguments = random_map_arguments(2, 5, 3, 6, 7, seed=3)
    arguments[0][1, 2, 3, 4] = torch.nan
    (y,) = session().run(None, feed(arguments))
    expected = answer(arguments)
    assert np.isnan(expected).any()
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
    np.testing.assert_allclose(np.nan_to_num(y), np.nan_to_num(expected), atol=1e-4)


def test_the_number_of_threads_does_not_change_a_bit() -> None:
    arguments = feed(random_map_arguments(1, 96, 16, 24, 40, seed=4))
    results = [session(threads=threads).run(None, arguments)[0] for threads in (1, 2, 5)]
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_an_empty_batch_gives_an_empty_result() -> None:
    arguments = [tensor[:0] if rank > 3 else tensor for tensor, rank in zip(random_map_arguments(), RANKS, strict=True)]
    assert session().run(None, feed(arguments))[0].shape == (0, 5, 4, 6)


@pytest.mark.parametrize("index", range(1, 7))
def test_an_input_of_another_shape_is_refused_by_name(index: int) -> None:
    arguments = list(random_map_arguments())
    arguments[index] = arguments[index][:, 1:] if RANKS[index] < 5 else arguments[index][..., 1:]
    with pytest.raises(Exception, match=f"shape of input '{NAMES[index]}' does not fit u \\(2, 5, 4, 6\\)"):
        session().run(None, feed(arguments))
