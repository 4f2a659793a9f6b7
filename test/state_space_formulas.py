# SPDX-License-Identifier: Apache-2.0
"""The equations of arXiv 2404.09146 in float64 numpy, one pixel after the other, for the tests of `network`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from fusion_mamba_ros.network.state_space import SelectiveScan2d, StateSpaceStream, VisualStateSpaceBlock

Array = npt.NDArray[np.float64]


def to_array(tensor: torch.Tensor | None) -> Array:
    """Return a tensor as float64."""
    assert tensor is not None
    return tensor.detach().double().numpy()


def silu(x: Array) -> Array:
    """x times its logistic function."""
    y: Array = x / (1 + np.exp(-x))
    return y


def layer_norm(x: Array, layer: torch.nn.LayerNorm) -> Array:
    """Normalise (C, H, W) over C."""
    weight, bias = to_array(layer.weight)[:, None, None], to_array(layer.bias)[:, None, None]
    y: Array = (x - x.mean(0)) / np.sqrt(x.var(0) + layer.eps) * weight + bias
    return y


def linear(x: Array, weight: torch.Tensor) -> Array:
    """Apply (O, C) to the channels of (C, H, W)."""
    y: Array = np.einsum("oc,chw->ohw", to_array(weight), x)
    return y


def depthwise(x: Array, layer: torch.nn.Conv2d) -> Array:
    """3x3 correlation of each channel with its own kernel, zeros around the map."""
    weight, bias = to_array(layer.weight)[:, 0], to_array(layer.bias)
    channels, height, width = x.shape
    padded = np.zeros((channels, height + 2, width + 2))
    padded[:, 1:-1, 1:-1] = x
    out = np.zeros_like(x) + bias[:, None, None]
    for i in range(3):
        for j in range(3):
            out += weight[:, i, j][:, None, None] * padded[:, i : i + height, j : j + width]
    return out


def pixel_orders(height: int, width: int) -> list[list[tuple[int, int]]]:
    """The four ways to read a map: rows, columns, and both from the end."""
    rows = [(h, w) for h in range(height) for w in range(width)]
    columns = [(h, w) for w in range(width) for h in range(height)]
    return [rows, columns, rows[::-1], columns[::-1]]


def scan(x: Array, layer: SelectiveScan2d) -> Array:
    """SS2D of (D, H, W): h_t = exp(dt A) h_(t-1) + dt u_t B_t; y_t = h_t C_t + D u_t, summed over the orders."""
    n, rank, count = layer.state_size, layer.dt_rank, layer.directions
    x_proj, dt_proj, dt_bias = to_array(layer.x_proj), to_array(layer.dt_proj), to_array(layer.dt_bias)
    a, skip = -np.exp(to_array(layer.A_log)), to_array(layer.D)
    out = np.zeros_like(x)
    for k, order in enumerate(pixel_orders(*x.shape[1:])[:count]):
        rows_dt = x_proj[k * rank : (k + 1) * rank]
        rows_b = x_proj[count * rank + k * n : count * rank + (k + 1) * n]
        rows_c = x_proj[count * (rank + n) + k * n : count * (rank + n) + (k + 1) * n]
        state = np.zeros((x.shape[0], n))
        for h, w in order:
            u = x[:, h, w]
            dt = np.log1p(np.exp(dt_proj[k] @ (rows_dt @ u) + dt_bias[k]))
            state = np.exp(dt[:, None] * a[k]) * state + (dt * u)[:, None] * (rows_b @ u)[None]
            out[:, h, w] += state @ (rows_c @ u) + skip[k] * u
    return out


def hidden_state(x: Array, stream: StateSpaceStream, ss2d: SelectiveScan2d) -> tuple[Array, Array]:
    """y = LN(SS2D(SiLU(DWConv(Linear(LN(x)))))) and z = SiLU(Linear(LN(x)))."""
    normed = layer_norm(x, stream.norm)
    hidden = silu(depthwise(linear(normed, stream.in_proj.weight), stream.conv))
    assert stream.gate_proj is not None
    return layer_norm(scan(hidden, ss2d), stream.inner_norm), silu(linear(normed, stream.gate_proj.weight))


def vss(x: Array, block: VisualStateSpaceBlock) -> Array:
    """x + Linear(y z)."""
    y, z = hidden_state(x, block.stream, block.scan)
    return x + linear(y * z, block.stream.out_proj.weight)


def randomise(module: torch.nn.Module, generator: torch.Generator) -> None:
    """Replace every parameter by one that matters: no ones, no zeros, no near-identities."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith(("A_log", "dt_bias")):
                parameter.add_(0.3 * noise)
            elif parameter.ndim == 1 or name.endswith(".D"):
                parameter.add_(0.5 * noise)
            else:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
