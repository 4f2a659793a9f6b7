# SPDX-License-Identifier: Apache-2.0
"""The selective scan (S6) of sequences and of maps: one operator, several backends."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from fusion_mamba_ros.network.selective_scan.reference import scan_maps

__all__ = ["selective_scan", "selective_scan_2d"]


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

    u, delta (B, D, L); A (D, N); B, C (B, N, L) or (B, G, N, L); D, delta_bias (D,); z (B, D, L) gates y by SiLU(z).
    """
    B = B.unsqueeze(1) if B.dim() == 3 else B
    C = C.unsqueeze(1) if C.dim() == 3 else C
    y = scan_maps(
        u.unsqueeze(2),
        delta.unsqueeze(1).unsqueeze(3),
        A.unsqueeze(0),
        B.unsqueeze(1).unsqueeze(-2),
        C.unsqueeze(1).unsqueeze(-2),
        None if D is None else D.unsqueeze(0),
        None if delta_bias is None else delta_bias.unsqueeze(0),
        delta_softplus,
    ).squeeze(2)
    return y if z is None else y * F.silu(z)


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
    """Return the sum of the four directional scans of a map, (B, D, H, W), each put back in place.

    u (B, D, H, W); delta (B, 4, D, H, W); A (4, D, N); B, C (B, 4, N, H, W); D, delta_bias (4, D). Directions: rows,
    columns, rows reversed, columns reversed.
    """
    return scan_maps(u, delta, A, B.unsqueeze(2), C.unsqueeze(2), D, delta_bias, delta_softplus)
