// SPDX-License-Identifier: Apache-2.0
// A block is LANES neighbouring channels of one group. Each lane of a vector belongs to one channel.

typedef struct {
    int64_t channel;  // first channel
    int64_t lanes;    // number of channels; the other lanes compute with zeros
} block;

INLINE block block_of(const scan_problem *p, const scan_task *task, int64_t index) {
    int64_t group_channels = p->channels / p->groups, inside = (task->first_block + index) * LANES;
    return (block){task->group * group_channels + inside, smaller(LANES, group_channels - inside)};
}

// Return the number of vectors that hold the N states of one step.
INLINE int64_t state_vectors(const scan_problem *p) { return divide_up(p->state_size, LANES); }

INLINE int64_t pixels_of(const scan_problem *p) { return p->height * p->width; }

INLINE int64_t most_panel_steps(const scan_problem *p) {
    int64_t rows = walk_of(p, 0).panel_steps, columns = p->directions > 1 ? walk_of(p, 1).panel_steps : 0;
    return rows > columns ? rows : columns;
}

// Return the offset of the task's maps of B or C, (state, height, width), in this direction.
INLINE int64_t projection_offset(const scan_problem *p, const scan_task *task, int64_t direction) {
    return ((task->batch * p->directions + direction) * p->groups + task->group) * p->state_size * pixels_of(p);
}

// Return the offset of the saved states of this chunk at the first channel of the block.
INLINE int64_t state_offset(const scan_problem *p, const scan_task *task, int64_t direction, int64_t chunk,
                            block channels) {
    int64_t row = (task->batch * p->directions + direction) * p->chunks + chunk;
    return row * p->state_size * p->channels + channels.channel;
}

// Return the rate of state n divided by the entry of A that it takes.
INLINE float rate_multiple(const scan_problem *p, int64_t n) { return p->decay == SCAN_DECAY_POWER ? (float)(n + 1) : 1.0f; }

// Set to[n] = factor * A for the channels of the block: the rate of state n in any form of decay.
static void load_A(vec *to, const scan_problem *p, int64_t direction, block channels, float factor) {
    int64_t rates = p->decay == SCAN_DECAY_FREE ? p->state_size : 1;
    const float *A = p->A + (direction * p->channels + channels.channel) * rates;
    for (int64_t n = 0; n < p->state_size; n++) {
        to[n] = splat(0.0f);
        for (int64_t i = 0; i < channels.lanes; i++) to[n][i] = factor * (rate_multiple(p, n) * A[i * rates + (rates > 1 ? n : 0)]);
    }
}

// Return one value for each channel, or zeros if the array is null.
INLINE vec load_channels(const float *values, const scan_problem *p, int64_t direction, block channels) {
    return values ? load_part(values + direction * p->channels + channels.channel, channels.lanes) : splat(0.0f);
}

// Gather the task's B and C of a panel as (step, state).
static void gather_projections(vec *B, vec *C, const scan_problem *p, const scan_task *task, int64_t direction,
                               const panel *q) {
    int64_t offset = projection_offset(p, task, direction), pixels = pixels_of(p), vectors = state_vectors(p);
    for (int64_t v = 0; v < vectors; v++) {
        int64_t first = v * LANES, lanes = smaller(LANES, p->state_size - first);
        gather(B + v, vectors, p->B + offset + first * pixels, pixels, lanes, q);
        gather(C + v, vectors, p->C + offset + first * pixels, pixels, lanes, q);
    }
}

// Replace count values of delta by the step sizes: softplus(delta + bias), or delta + bias without softplus.
INLINE void step_sizes(vec *delta, int64_t count, const scan_problem *p, vec bias) {
    int64_t t = 0;
    if (p->softplus) {
        for (; t + 4 <= count; t += 4) {
            for (int i = 0; i < 4; i++) delta[t + i] += bias;
            softplus_each(4, delta + t);
        }
        for (; t < count; t++) {
            delta[t] += bias;
            softplus_each(1, delta + t);
        }
    } else if (p->delta_bias) {
        for (; t < count; t++) delta[t] += bias;
    }
}

// Gather the step sizes of a panel.
static void gather_delta(vec *delta, const scan_problem *p, const scan_task *task, int64_t direction, block channels,
                         const panel *q) {
    int64_t pixels = pixels_of(p);
    int64_t plane = (task->batch * p->directions + direction) * p->channels + channels.channel;
    gather(delta, 1, p->delta + plane * pixels, pixels, channels.lanes, q);
    step_sizes(delta, q->steps, p, load_channels(p->delta_bias, p, direction, channels));
}
