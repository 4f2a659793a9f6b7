# SPDX-License-Identifier: Apache-2.0
"""Forward pass: one program processes one walk of one or two channels, chunk by chunk."""

from __future__ import annotations

import triton
import triton.language as tl

from fusion_mamba_ros.network.selective_scan.triton_kernels.steps import LOG2_E, pixel_of, step_size, then


@triton.jit
def forward_kernel(
    u,
    delta,
    A,
    B,
    C,
    D,
    delta_bias,
    y,
    states,
    directions,
    channels,
    groups,
    state_size,
    height,
    width,
    HAS_D: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    SOFTPLUS: tl.constexpr,
    KEEP_STATES: tl.constexpr,
    CHANNELS: tl.constexpr,
    STATES: tl.constexpr,
    STEPS: tl.constexpr,
):
    """Write y (walk, channel, pixel) of one walk for CHANNELS channels, and the state at the start of each chunk."""
    group_channels = channels // groups
    group_blocks = tl.cdiv(group_channels, CHANNELS)
    blocks = groups * group_blocks
    block = tl.program_id(0) % blocks
    walk = (tl.program_id(0) // blocks).to(tl.int64)
    direction = (walk % directions).to(tl.int32)
    group = block // group_blocks

    in_group = (block % group_blocks) * CHANNELS + tl.arange(0, CHANNELS)
    has_channel = in_group < group_channels
    channel = group * group_channels + in_group
    state = tl.arange(0, STATES)
    has_state = state < state_size
    has_both = has_channel[:, None] & has_state[None, :]
    parameter = direction * channels + channel

    pixels = height * width
    of_u = u + ((walk // directions) * channels + channel)[:, None] * pixels
    of_delta = delta + (walk * channels + channel)[:, None] * pixels
    of_y = y + (walk * channels + channel)[:, None] * pixels
    of_B = B + ((walk * groups + group) * state_size + state)[:, None] * pixels
    of_C = C + ((walk * groups + group) * state_size + state)[:, None] * pixels

    rate = tl.load(A + parameter[:, None] * state_size + state[None, :], mask=has_both, other=0.0) * LOG2_E
    bias = tl.zeros((CHANNELS,), tl.float32)
    if HAS_BIAS:
        bias = tl.load(delta_bias + parameter, mask=has_channel, other=0.0)
    skip = tl.zeros((CHANNELS,), tl.float32)
    if HAS_D:
        skip = tl.load(D + parameter, mask=has_channel, other=0.0)

    in_chunk = tl.arange(0, STEPS)
    chunks = tl.cdiv(pixels, STEPS)
    h_start = tl.zeros((CHANNELS, STATES), tl.float32)
    for chunk in range(chunks):
        if KEEP_STATES:
            of_states = ((walk * chunks + chunk) * channels + channel)[:, None] * state_size + state[None, :]
            tl.store(states + of_states, h_start, mask=has_both)
        step = chunk * STEPS + in_chunk
        pixel = pixel_of(step, direction, height, width)[None, :]
        inside = (step < pixels)[None, :]
        has_value = has_channel[:, None] & inside
        has_matrix = has_state[:, None] & inside

        raw = tl.load(of_delta + pixel, mask=has_value, other=0.0) + bias[:, None]
        dt = step_size(raw, has_value, SOFTPLUS)
        value = tl.load(of_u + pixel, mask=has_value, other=0.0)
        into = tl.load(of_B + pixel, mask=has_matrix, other=0.0)
        out = tl.load(of_C + pixel, mask=has_matrix, other=0.0)

        decay = tl.exp2(dt[:, None, :] * rate[:, :, None])
        added = (dt * value)[:, None, :] * into[None, :, :]
        since_start, own = tl.associative_scan((decay, added), 2, then)
        h = since_start * h_start[:, :, None] + own
        tl.store(of_y + pixel, tl.sum(h * out[None, :, :], 1) + skip[:, None] * value, mask=has_value)
        h_start = tl.sum(tl.where((in_chunk == STEPS - 1)[None, None, :], h, 0.0), 2)
