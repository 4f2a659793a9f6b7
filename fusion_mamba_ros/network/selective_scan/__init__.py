# SPDX-License-Identifier: Apache-2.0
"""Selective scan (S6) of sequences and of feature maps: one operator with several backends.

`fusion-mamba info` prints which backend runs and why the others do not.
`docs/explanation/selective-scan.md` explains how the backends work.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fusion_mamba_ros.network.selective_scan.backends import Backend, active_backend, all_backends, use_backend
from fusion_mamba_ros.network.selective_scan.operator import scan_1d, scan_1d_with_states, scan_2d, scan_2d_with_states

__all__ = ["Backend", "active_backend", "all_backends", "selective_scan", "selective_scan_2d", "use_backend"]


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
) -> Tensor:
    """Return the selective scan y of a sequence, (B, D, L).

    The arguments have the order and the meaning of those of mamba_ssm's ``selective_scan_fn``.
    Shapes: u, delta (B, D, L); A (D, N), real; B, C (B, N, L) or (B, G, N, L); D, delta_bias (D,); z (B, D, L).
    Group g of B and C belongs to the g-th block of D / G channels. z multiplies y by SiLU(z).
    Dtypes and errors are those of ``selective_scan_2d``. Source: arXiv 2312.00752, section 3.2.
    """
    B = B.unsqueeze(1) if B.dim() == 3 else B
    C = C.unsqueeze(1) if C.dim() == 3 else C
    y = _run(scan_1d, scan_1d_with_states, "selective_scan", (u, delta, A, B, C, D, delta_bias), delta_softplus)
    if z is None:
        return y
    if z.shape != u.shape:
        raise ValueError(f"selective_scan: z has shape {tuple(z.shape)}, expected {tuple(u.shape)} as u")
    return y * F.silu(z)


def selective_scan_2d(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = True,
) -> Tensor:
    """Return the sum of the K directional scans of a map, (B, D, H, W), in the dtype of u.

    Shapes: u (B, D, H, W); delta (B, K, D, H, W); A (K, D, N); B, C (B, K, N, H, W); D, delta_bias (K, D).
    The directions are the first K (1 to 4) of: rows, columns, rows reversed, columns reversed. All tensors keep the
    layout of the map: index (h, w) is pixel (h, w) in every direction.
    Each direction computes h = exp(delta A) h + delta u B and y = h C + D u, with delta = softplus(delta + delta_bias).

    The scan computes in float32. Float64 tensors are computed in float64 by the slow reference. Under autocast the
    dtypes may be mixed. Without autocast u, delta, B and C must share one dtype, and A, D and delta_bias must be
    float32 or have that dtype. Any strides are accepted. An empty map gives an empty result. A NaN of one pixel
    affects that step and the later steps of each direction, and nothing else.
    Raises ``ValueError`` if shapes or devices do not match, ``TypeError`` if dtypes do not match.
    Source: arXiv 2401.10166 (SS2D), 2404.09146, section 3.1.
    """
    return _run(scan_2d, scan_2d_with_states, "selective_scan_2d", (u, delta, A, B, C, D, delta_bias), delta_softplus)


def _run(plain: Any, with_states: Any, name: str, tensors: tuple[Tensor | None, ...], delta_softplus: bool) -> Tensor:
    u, delta, A, B, C, D, delta_bias = tensors
    assert u is not None
    computed = torch.float64 if u.dtype == torch.float64 else torch.float32
    # torch 2.4 has no autocast rules for custom operators, therefore this function casts.
    if not torch.is_autocast_enabled(u.device.type):
        _check_dtypes(name, u, {"delta": delta, "B": B, "C": C}, {"A": A, "D": D, "delta_bias": delta_bias})
    arguments = (*(None if tensor is None else tensor.to(computed) for tensor in tensors), delta_softplus)
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors):
        y: Tensor = with_states(*arguments)[0]
    else:
        y = plain(*arguments)
    return y.to(u.dtype)


def _check_dtypes(
    name: str, u: Tensor, streams: dict[str, Tensor | None], parameters: dict[str, Tensor | None]
) -> None:
    if u.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        raise TypeError(f"{name}: u is {u.dtype}, expected a floating point tensor")
    for argument, tensor in streams.items():
        if tensor is not None and tensor.dtype != u.dtype:
            raise TypeError(f"{name}: {argument} is {tensor.dtype} but u is {u.dtype}: convert one of them")
    allowed = {u.dtype} if u.dtype == torch.float64 else {u.dtype, torch.float32}
    for argument, tensor in parameters.items():
        if tensor is not None and tensor.dtype not in allowed:
            raise TypeError(f"{name}: {argument} is {tensor.dtype}, expected float32 or {u.dtype} as u")
