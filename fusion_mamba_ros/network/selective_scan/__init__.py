# SPDX-License-Identifier: Apache-2.0
"""The selective scan (S6) of sequences and of maps: one operator, several backends.

`fusion-mamba info` prints which backend runs and why the others do not. How they work:
`docs/explanation/selective-scan.md`.
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
    """Return the selective scan of a sequence, (B, D, L); signature and meaning of mamba_ssm's ``selective_scan_fn``.

    u, delta (B, D, L); A (D, N), real; B, C (B, N, L) or (B, G, N, L), group g serving the g-th block of D / G
    channels; D, delta_bias (D,); z (B, D, L) gates y by SiLU(z). Dtypes and errors as ``selective_scan_2d``.
    Source: arXiv 2312.00752, section 3.2.
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
    """Return the sum of the four directional scans of a map, (B, D, H, W), in the dtype of u.

    u (B, D, H, W); delta (B, 4, D, H, W); A (4, D, N); B, C (B, 4, N, H, W); D, delta_bias (4, D). Directions: rows,
    columns, rows reversed, columns reversed; what belongs to pixel (h, w) stands at index (h, w) in all of them.
    Along each direction h = exp(delta A) h + delta u B and y = h C + D u, with delta = softplus(delta + delta_bias).

    Computes in float32, also under autocast, where dtypes may be mixed; float64 tensors are computed in float64 by the
    slow reference. Otherwise u, delta, B and C share one dtype; A, D and delta_bias are float32 or of that dtype too.
    Strides are free; an empty map gives an empty result; NaN spreads along the walks and nowhere else.
    Raises ``ValueError`` for shapes and devices that do not fit, ``TypeError`` for dtypes.
    Source: arXiv 2401.10166 (SS2D), 2404.09146, section 3.1.
    """
    return _run(scan_2d, scan_2d_with_states, "selective_scan_2d", (u, delta, A, B, C, D, delta_bias), delta_softplus)


def _run(plain: Any, with_states: Any, name: str, tensors: tuple[Tensor | None, ...], delta_softplus: bool) -> Tensor:
    u, delta, A, B, C, D, delta_bias = tensors
    assert u is not None
    computed = torch.float64 if u.dtype == torch.float64 else torch.float32
    # torch 2.4 has no autocast rules for custom operators, so the casts are made here.
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
