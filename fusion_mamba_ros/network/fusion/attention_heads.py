# SPDX-License-Identifier: Apache-2.0
"""Divide the channels of tokens among attention heads."""

from __future__ import annotations

from torch import Tensor


def split_heads(tokens: Tensor, heads: int) -> Tensor:
    """Return tokens (B, L, C) as (B, heads, L, C / heads)."""
    split: Tensor = tokens.unflatten(-1, (heads, -1)).transpose(1, 2)
    return split
