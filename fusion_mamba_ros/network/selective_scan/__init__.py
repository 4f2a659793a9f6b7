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
from fusion_mamba_ros.network.selective_scan.problem import sequence_inputs

Tensors = tuple["Tensor | None", ...]

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
    return_last_state: bool = False,
    *,
    decay: str = "free",
) -> Tensor | tuple[Tensor, Tensor]:
    """Return the selective scan y of a sequence, (B, D, L), in the dtype of u.

    The arguments have the order and the meaning of those of mamba_ssm's ``selective_scan_fn``.
    Shapes: u, delta (B, D, L); A (D, N), real; B, C (B, N, L) or (B, G, N, L); D, delta_bias (D,); z (B, D, L).
    Group g of B and C belongs to the g-th block of D / G channels. z multiplies y by SiLU(z) before y is rounded to the
    dtype of u. ``decay``: as in ``selective_scan_2d``, with A (D,) for the forms `power` and `scalar`.
    With ``return_last_state`` the result is (y, state): the state after the last step, (B, D, N), float32 (float64 for
    float64 tensors). mamba_ssm gives no gradient for that state; this function does.
    Dtypes and errors are those of ``selective_scan_2d``. Source: arXiv 2312.00752, section 3.2.
    """
    B = B.unsqueeze(1) if B.dim() == 3 else B
    C = C.unsqueeze(1) if C.dim() == 3 else C
    if z is not None and z.shape != u.shape:
        raise ValueError(f"selective_scan: z has shape {tuple(z.shape)}, expected {tuple(u.shape)} as u")
    tensors = _computed("selective_scan", (u, delta, A, B, C, D, delta_bias))
    if not return_last_state:
        return _gated(_run(scan_1d, scan_1d_with_states, tensors, delta_softplus, decay), z).to(u.dtype)
    sequence_inputs(*tensors, delta_softplus, decay)  # type: ignore[arg-type, call-arg]
    y = _run(scan_1d, scan_1d_with_states, _read_last_state(tensors, delta_softplus), delta_softplus, decay)
    length = u.shape[-1]
    return _gated(y[..., :length], z).to(u.dtype), y[..., length:]


def selective_scan_2d(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = True,
    *,
    decay: str = "free",
) -> Tensor:
    """Return the sum of the K directional scans of a map, (B, D, H, W), in the dtype of u.

    Shapes: u (B, D, H, W); delta (B, K, D, H, W); A (K, D, N); B, C (B, K, N, H, W); D, delta_bias (K, D).
    ``decay``: `free`, or a structured form with one rate A (K, D) for each channel, which takes less time: in the form
    `power` state n (from 0) decays with (n + 1) A, in the form `scalar` all states decay with A.
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
    tensors = _computed("selective_scan_2d", (u, delta, A, B, C, D, delta_bias))
    return _run(scan_2d, scan_2d_with_states, tensors, delta_softplus, decay).to(u.dtype)


def _read_last_state(tensors: Tensors, delta_softplus: bool) -> Tensors:
    """Return the tensors of a sequence with N more steps, whose y are the entries of the last state.

    The size of these steps is 0, so they keep the state; their u and B are 0, and the C of each selects one entry. So
    every backend returns the last state, and autograd differentiates it.
    """
    u, delta, A, B, C, D, delta_bias = tensors
    assert u is not None and delta is not None and B is not None and C is not None
    size = B.shape[-2]
    # softplus(-200) is so small that no decay factor differs from 1.
    steps = delta.new_full((*delta.shape[:-1], size), -200.0 if delta_softplus else 0.0)
    if delta_bias is not None:
        steps = steps - delta_bias[:, None]
    selection = torch.eye(size, dtype=C.dtype, device=C.device).expand(*C.shape[:-1], size)
    return (
        F.pad(u, (0, size)),
        torch.cat([delta, steps], dim=-1),
        A,
        F.pad(B, (0, size)),
        torch.cat([C, selection], dim=-1),
        D,
        delta_bias,
    )


def _gated(y: Tensor, z: Tensor | None) -> Tensor:
    return y if z is None else y * F.silu(z.to(y.dtype))


def _computed(name: str, tensors: Tensors) -> Tensors:
    """Check the dtypes and return the tensors in float32, or in float64 if u has that dtype."""
    u, delta, A, B, C, D, delta_bias = tensors
    assert u is not None
    # torch 2.4 has no autocast rules for custom operators, therefore this function casts.
    if not torch.is_autocast_enabled(u.device.type):
        _check_dtypes(name, u, {"delta": delta, "B": B, "C": C}, {"A": A, "D": D, "delta_bias": delta_bias})
    computed = torch.float64 if u.dtype == torch.float64 else torch.float32
    return tuple(None if tensor is None else tensor.to(computed) for tensor in tensors)


def _run(plain: Any, with_states: Any, tensors: Tensors, delta_softplus: bool, decay: str) -> Tensor:
    # The operators' default stays out of exported graphs.
    options = (delta_softplus,) if decay == "free" else (delta_softplus, decay)
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors):
        y: Tensor = with_states(*tensors, *options)[0]
    else:
        y = plain(*tensors, *options)
    return y


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
