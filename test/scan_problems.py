# SPDX-License-Identifier: Apache-2.0
"""Random scans and their float64 answers, for the tests of the selective scan."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from fusion_mamba_ros.network.selective_scan.problem import Gradients, ScanInputs
from fusion_mamba_ros.network.selective_scan.reference import scan_maps


def random_inputs(
    batch: int, directions: int, channels: int, groups: int, state_size: int, height: int, width: int, seed: int
) -> ScanInputs:
    """Return inputs like those of a network in training: A about -1, step sizes about 0.1."""
    generator = torch.Generator().manual_seed(seed)
    print(f"seed {seed}")

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return ScanInputs(
        u=normal(batch, channels, height, width),
        delta=normal(batch, directions, channels, height, width),
        A=-torch.exp(normal(directions, channels, state_size) / 2),
        B=normal(batch, directions, groups, state_size, height, width),
        C=normal(batch, directions, groups, state_size, height, width),
        D=normal(directions, channels),
        delta_bias=normal(directions, channels) - 2,
        delta_softplus=True,
    )


def with_decay(inputs: ScanInputs, decay: str) -> ScanInputs:
    """Return the problem with one rate for each channel: that of its first state."""
    return inputs if decay == "free" else inputs._replace(A=inputs.A[..., 0].contiguous(), decay=decay)


def random_map_arguments(
    batch: int = 2, channels: int = 5, state_size: int = 3, height: int = 4, width: int = 6, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return u, delta, A, B, C, D and delta_bias as ``selective_scan_2d`` takes them."""
    u, delta, A, B, C, D, bias, *_ = random_inputs(batch, 4, channels, 1, state_size, height, width, seed)
    assert D is not None
    assert bias is not None
    return u, delta, A, B[:, :, 0], C[:, :, 0], D, bias


def float64_answer(inputs: ScanInputs, grad_y: Tensor) -> tuple[Tensor, Gradients]:
    """Return y and all gradients by autograd through the time loop in float64."""
    tensors: list[Any] = [
        None if tensor is None else tensor.double().requires_grad_() for tensor in inputs.tensors().values()
    ]
    present = [tensor for tensor in tensors if tensor is not None]
    threads = torch.get_num_threads()
    # Thousands of small operators: more threads would only wait for each other.
    torch.set_num_threads(1)
    try:
        u, delta, A, B, C, D, bias = tensors
        y = scan_maps(u, delta, A, B, C, D, bias, inputs.delta_softplus, inputs.decay)
        found = iter(torch.autograd.grad(y, present, grad_y.double()))
    finally:
        torch.set_num_threads(threads)
    gradients: list[Any] = [None if tensor is None else next(found) for tensor in tensors]
    return y.detach(), Gradients(*gradients)


def brute_force_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, bias: Tensor) -> Tensor:
    """Return ``selective_scan_2d`` with softplus of one image, (D, H, W), pixel by pixel in Python floats.

    Shapes as there, without the batch dimension. Written from the equations alone; shares nothing with the package.
    """
    channels, height, width = u.shape
    rows = [(row, column) for row in range(height) for column in range(width)]
    columns = [(row, column) for column in range(width) for row in range(height)]
    y = torch.zeros(channels, height, width, dtype=torch.float64)
    for direction, order in enumerate([rows, columns, rows[::-1], columns[::-1]]):
        for channel in range(channels):
            states = [0.0] * A.shape[2]
            for row, column in order:
                x = float(u[channel, row, column])
                step = math.log1p(math.exp(float(delta[direction, channel, row, column] + bias[direction, channel])))
                for n in range(len(states)):
                    decay = math.exp(step * float(A[direction, channel, n]))
                    states[n] = decay * states[n] + step * x * float(B[direction, n, row, column])
                    y[channel, row, column] += states[n] * float(C[direction, n, row, column])
                y[channel, row, column] += float(D[direction, channel]) * x
    return y


def relative_error(found: Tensor | None, expected: Tensor | None) -> float:
    """Return the largest error, relative to the largest expected value; infinite if that is zero and the other not."""
    assert found is not None and expected is not None
    error, scale = float((found.double() - expected).abs().max()), float(expected.abs().max())
    return error / scale if scale else (math.inf if error else 0.0)
