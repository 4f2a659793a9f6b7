# SPDX-License-Identifier: Apache-2.0
"""Backward pass in two kernels: carries from chunk to chunk, then all chunks in parallel."""

from __future__ import annotations

import triton
import triton.language as tl

from fusion_mamba_ros.network.selective_scan.triton_kernels.steps import LOG2_E, pixel_of, step_size, then


@triton.jit
def carry_kernel(
    delta,
    A,
    C,
    delta_bias,
    grad_y,
    carries,
    directions,
    channels,
    groups,
    state_size,
    height,
    width,
    HAS_BIAS: tl.constexpr,
    SOFTPLUS: tl.constexpr,
    CHANNELS: tl.constexpr,
    STATES: tl.constexpr,
    STEPS: tl.constexpr,
):
    """Write for each chunk the gradient of the state at its end, which comes from the chunks after it.

    With a_i = exp(delta_i A) a chunk of steps 1..T passes back w_1 = sum_t (a_1 .. a_t) C_t dy_t + (a_1 .. a_T) w_T+1.
    The products are exponentials of sums, so no scan over states is needed.
    """
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
    of_grad_y = grad_y + ((walk // directions) * channels + channel)[:, None] * pixels
    of_delta = delta + (walk * channels + channel)[:, None] * pixels
    of_C = C + ((walk * groups + group) * state_size + state)[:, None] * pixels

    rate = tl.load(A + parameter[:, None] * state_size + state[None, :], mask=has_both, other=0.0) * LOG2_E
    bias = tl.zeros((CHANNELS,), tl.float32)
    if HAS_BIAS:
        bias = tl.load(delta_bias + parameter, mask=has_channel, other=0.0)

    in_chunk = tl.arange(0, STEPS)
    chunks = tl.cdiv(pixels, STEPS)
    carry = tl.zeros((CHANNELS, STATES), tl.float32)
    for from_end in range(chunks):
        chunk = chunks - 1 - from_end
        of_carries = ((walk * chunks + chunk) * channels + channel)[:, None] * state_size + state[None, :]
        tl.store(carries + of_carries, carry, mask=has_both)
        step = chunk * STEPS + in_chunk
        pixel = pixel_of(step, direction, height, width)[None, :]
        inside = (step < pixels)[None, :]
        has_value = has_channel[:, None] & inside

        raw = tl.load(of_delta + pixel, mask=has_value, other=0.0) + bias[:, None]
        dt = step_size(raw, has_value, SOFTPLUS)
        grad = tl.load(of_grad_y + pixel, mask=has_value, other=0.0)
        out = tl.load(of_C + pixel, mask=has_state[:, None] & inside, other=0.0)
        since_start = tl.exp2(tl.cumsum(dt, 1)[:, None, :] * rate[:, :, None])
        own = tl.sum(since_start * (grad[:, None, :] * out[None, :, :]), 2)
        carry = own + tl.exp2(tl.sum(dt, 1)[:, None] * rate) * carry


@triton.jit
def backward_kernel(
    u,
    delta,
    A,
    B,
    C,
    D,
    delta_bias,
    states,
    carries,
    grad_y,
    grad_u,
    grad_delta,
    grad_A,
    grad_B,
    grad_C,
    walks,
    directions,
    channels,
    groups,
    state_size,
    height,
    width,
    part_channels,
    HAS_D: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    SOFTPLUS: tl.constexpr,
    STATES: tl.constexpr,
    STEPS: tl.constexpr,
):
    """Write the gradients of one chunk of one walk for the channels of one part of a group.

    Shapes: grad_u, grad_delta (walk, channel, pixel); grad_A (walk, chunk, channel, state), summed over the chunk only;
    grad_B, grad_C (part, walk, group, state, pixel), summed over the channels of the part only.
    With g = dL/dh and a = exp(delta A):
      g_t = C_t dy_t + w_t+1,  w_t = a_t g_t;  dB_t = g_t delta_t u_t;  dC_t = dy_t h_t;  dA = sum of delta_t w_t h_t-1.
    Both scans are exclusive: they use the neighbouring step, so they give h_t-1 and w_t+1 at step t.
    """
    pixels = height * width
    chunks = tl.cdiv(pixels, STEPS)
    group_channels = channels // groups
    chunk = tl.program_id(0) % chunks
    group = (tl.program_id(0) // chunks) % groups
    walk = ((tl.program_id(0) // (chunks * groups)) % walks).to(tl.int64)
    part = tl.program_id(0) // (chunks * groups) // walks
    direction = (walk % directions).to(tl.int32)

    state = tl.arange(0, STATES)
    has_state = state < state_size
    in_chunk = tl.arange(0, STEPS)
    step = chunk * STEPS + in_chunk
    inside = step < pixels
    has_before = inside & (in_chunk > 0)
    has_after = (step + 1 < pixels) & (in_chunk < STEPS - 1)
    pixel = pixel_of(step, direction, height, width)
    pixel_before = pixel_of(step - 1, direction, height, width)
    pixel_after = pixel_of(step + 1, direction, height, width)

    of_matrix = (((walk * groups + group) * state_size + state) * pixels)[:, None]
    has_matrix = has_state[:, None] & inside[None, :]
    into = tl.load(B + of_matrix + pixel[None, :], mask=has_matrix, other=0.0)
    into_before = tl.load(
        B + of_matrix + pixel_before[None, :], mask=has_state[:, None] & has_before[None, :], other=0.0
    )
    out = tl.load(C + of_matrix + pixel[None, :], mask=has_matrix, other=0.0)
    out_after = tl.load(C + of_matrix + pixel_after[None, :], mask=has_state[:, None] & has_after[None, :], other=0.0)
    to_B = tl.zeros((STATES, STEPS), tl.float32)
    to_C = tl.zeros((STATES, STEPS), tl.float32)

    first = part * part_channels
    last = tl.minimum(first + part_channels, group_channels)
    for in_group in range(first, last):
        channel = group * group_channels + in_group
        parameter = direction * channels + channel
        of_value = (walk * channels + channel) * pixels
        of_shared = ((walk // directions) * channels + channel) * pixels
        of_state = ((walk * chunks + chunk) * channels + channel) * state_size + state
        a = tl.load(A + parameter * state_size + state, mask=has_state, other=0.0)
        rate = a * LOG2_E
        bias = 0.0
        if HAS_BIAS:
            bias = tl.load(delta_bias + parameter)
        skip = 0.0
        if HAS_D:
            skip = tl.load(D + parameter)

        raw = tl.load(delta + of_value + pixel, mask=inside, other=0.0) + bias
        raw_before = tl.load(delta + of_value + pixel_before, mask=has_before, other=0.0) + bias
        raw_after = tl.load(delta + of_value + pixel_after, mask=has_after, other=0.0) + bias
        dt = step_size(raw, inside, SOFTPLUS)
        dt_before = step_size(raw_before, has_before, SOFTPLUS)
        dt_after = step_size(raw_after, has_after, SOFTPLUS)
        value = tl.load(u + of_shared + pixel, mask=inside, other=0.0)
        value_before = tl.load(u + of_shared + pixel_before, mask=has_before, other=0.0)
        grad = tl.load(grad_y + of_shared + pixel, mask=inside, other=0.0)
        grad_after = tl.load(grad_y + of_shared + pixel_after, mask=has_after, other=0.0)

        since_start, own = tl.associative_scan(
            (tl.exp2(rate[:, None] * dt_before[None, :]), into_before * (dt_before * value_before)[None, :]), 1, then
        )
        h_start = tl.load(states + of_state, mask=has_state, other=0.0)
        h_before = since_start * h_start[:, None] + own

        decay_after = tl.exp2(rate[:, None] * dt_after[None, :])
        until_end, own = tl.associative_scan(
            (decay_after, decay_after * out_after * grad_after[None, :]), 1, then, reverse=True
        )
        carry = tl.load(carries + of_state, mask=has_state, other=0.0)
        g = out * grad[None, :] + until_end * carry[:, None] + own

        decay = tl.exp2(rate[:, None] * dt[None, :])
        added = (dt * value)[None, :]
        to_C += grad[None, :] * (decay * h_before + into * added)
        to_B += g * added
        through = decay * g * h_before
        g_B = tl.sum(g * into, 0)
        tl.store(grad_A + of_state, tl.sum(through * dt[None, :], 1), mask=has_state)
        tl.store(grad_u + of_value + pixel, dt * g_B + skip * grad, mask=inside)
        to_delta = tl.sum(through * a[:, None], 0) + value * g_B
        if SOFTPLUS:
            to_delta = to_delta * tl.sigmoid(raw)
        tl.store(grad_delta + of_value + pixel, to_delta, mask=inside)

    of_part = ((((part * walks + walk) * groups + group) * state_size + state) * pixels)[:, None]
    tl.store(grad_B + of_part + pixel[None, :], to_B, mask=has_matrix)
    tl.store(grad_C + of_part + pixel[None, :], to_C, mask=has_matrix)
