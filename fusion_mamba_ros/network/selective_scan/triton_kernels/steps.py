# SPDX-License-Identifier: Apache-2.0
"""Functions of one step that all kernels share: its pixel, its size, and the composition of two steps."""

from __future__ import annotations

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def pixel_of(step, direction, height, width):
    """Return the index of the step's pixel in the row-major map."""
    step = tl.where(direction >= 2, height * width - 1 - step, step)
    return tl.where(direction % 2 == 1, (step % height) * width + step // height, step)


@triton.jit
def step_size(raw, inside, SOFTPLUS: tl.constexpr):
    """Return delta, or 0 outside the map; softplus(x) = max(x, 0) + log1p(exp(-|x|))."""
    delta = raw
    if SOFTPLUS:
        # log1p(e) = 2 atanh(e / (2 + e)). The hardware's logarithm of 1 + e loses precision for small e.
        e = tl.exp(-tl.abs(raw))
        ratio = e / (2.0 + e)
        square = ratio * ratio
        series = 1.0 / 13.0 + square * (1.0 / 15.0)
        series = 1.0 / 11.0 + square * series
        series = 1.0 / 9.0 + square * series
        series = 1.0 / 7.0 + square * series
        series = 1.0 / 5.0 + square * series
        series = 1.0 / 3.0 + square * series
        delta = tl.maximum(raw, 0.0) + 2.0 * ratio * (1.0 + square * series)
    return tl.where(inside, delta, 0.0)


@triton.jit
def then(first_decay, first_added, second_decay, second_added):
    """Compose two steps h -> decay h + added, the first one applied first; return decay and added."""
    return second_decay * first_decay, second_decay * first_added + second_added
