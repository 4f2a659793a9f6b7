// SPDX-License-Identifier: Apache-2.0
// Backward pass: gradients of the scan. Let g = dL/dh. The pass runs from the last step to the first:
//   g_t = C_t dy_t + a_{t+1} g_{t+1},  a_t = exp(delta_t A)
//   dC_t = sum over channels of dy_t h_t          dB_t = sum over channels of g_t delta_t u_t
//   ddelta_t = sum over n of g_t (A a_t h_{t-1} + u_t B_t)
//   du_t = delta_t sum over n of g_t B_t + D dy_t  dA = sum over t of g_t delta_t a_t h_{t-1}
// The forward pass saves only the state at the first step of each chunk. The backward pass recomputes a and h, chunk
// by chunk.

#define PADDED_CHUNK (SCAN_CHUNK_STEPS + LANES)

// Number of states that one pass over a chunk processes.
#define AT_ONCE 4
// Number of passes that prefetch. The last entry of `wanted` is for the other passes: they prefetch a
// line that is already cached.
#define PASSES 3

typedef struct {
    vec *delta, *u, *grad_y;           // one panel; delta and u are overwritten by their gradients
    vec *B, *C, *grad_B, *grad_C;      // one panel, (step, state)
    vec *input, *g_B, *g_A;            // one chunk: delta u, sum of g B, sum of g a h A
    vec *shared;                       // one chunk, shared decay factors
    vec *a, *h;                        // one chunk, (step, AT_ONCE states); h[t] is the state before step t
    vec *sums_B, *sums_C;              // one chunk, (state, step): sums over the channels of the block
    vec *A, *A_log2, *grad_A, *carry;  // one task, (block, state); carry is a_{t+1} g_{t+1}
    vec *grad_D, *grad_bias;           // one task, (block)
    lines_ahead wanted[PASSES + 1][2]; // cache lines that each pass prefetches: [0] forwards, [1] backwards in time
} backward_memory;

// Point the members into `memory` and return the total number of vectors. If `memory` is null, only count.
static int64_t lay_out(backward_memory *m, const scan_problem *p, int64_t blocks, vec *memory) {
    int64_t steps = most_panel_steps(p), vectors = state_vectors(p), N = vectors * LANES;
    struct { vec **member; int64_t size; } parts[] = {
        {&m->delta, steps}, {&m->u, steps}, {&m->grad_y, steps},
        {&m->B, steps * vectors}, {&m->C, steps * vectors},
        {&m->grad_B, steps * vectors}, {&m->grad_C, steps * vectors},
        {&m->input, PADDED_CHUNK}, {&m->g_B, PADDED_CHUNK}, {&m->g_A, PADDED_CHUNK},
        {&m->shared, shared_factors(p) * SCAN_CHUNK_STEPS},
        {&m->a, AT_ONCE * PADDED_CHUNK}, {&m->h, AT_ONCE * PADDED_CHUNK},
        {&m->sums_B, vectors * PADDED_CHUNK}, {&m->sums_C, vectors * PADDED_CHUNK},
        {&m->A, blocks * N}, {&m->A_log2, blocks * N}, {&m->grad_A, blocks * N}, {&m->carry, blocks * N},
        {&m->grad_D, blocks}, {&m->grad_bias, blocks}};
    int64_t total = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (memory) *parts[i].member = memory + total;
        total += parts[i].size;
    }
    return total;
}

static int64_t backward_scratch(const scan_problem *p, int64_t blocks) {
    backward_memory unused;
    return (int64_t)sizeof(vec) * lay_out(&unused, p, blocks, 0);
}

// Run `count` states over a chunk, forwards and then backwards. Reads m->input, adds to m->g_B and m->g_A, and writes the
// rows from n on of m->sums_B and m->sums_C.
INLINE void reverse_states(const int count, const int form, const backward_memory *m, int64_t steps, const vec *delta,
                           const vec *grad_y, const float *B, const float *C, int64_t stride, const float *saved,
                           int64_t saved_stride, int64_t lanes, int64_t n, int64_t of_block,
                           const lines_ahead wanted[2], int64_t first_line, int64_t shared_stride) {
    const vec *input = m->input, *A = m->A + of_block + n;
    vec *a = m->a, *h = m->h, *all_g_B = m->g_B, *all_g_A = m->g_A;
    vec *grad_A = m->grad_A + of_block + n, *carry = m->carry + of_block + n;
    vec state[AT_ONCE], w[AT_ONCE], sum_A[AT_ONCE];

#pragma GCC unroll 4
    for (int i = 0; i < count; i++) h[i] = state[i] = load_part(saved + (n + i) * saved_stride, lanes);
    for (int64_t t = 0; t < steps; t++) {
        fetch(wanted[0], first_line + t);
        vec decay[AT_ONCE], x = input[t];
        decays_each(count, form, 1, decay, delta[t], m->shared + t * shared_stride, m->A_log2 + of_block, n);
#pragma GCC unroll 4
        for (int i = 0; i < count; i++) {
            a[AT_ONCE * t + i] = decay[i];
            state[i] = decay[i] * state[i] + x * B[t * stride + n + i];
            h[AT_ONCE * (t + 1) + i] = state[i];
        }
    }

#pragma GCC unroll 4
    for (int i = 0; i < count; i++) w[i] = carry[i], sum_A[i] = splat(0.0f);
    for (int64_t t = steps - 1; t >= 0; t--) {
        fetch(wanted[1], first_line + t);
        vec dt = delta[t], x = input[t], dy = grad_y[t], g_B = all_g_B[t], g_A = all_g_A[t];
#pragma GCC unroll 4
        for (int i = 0; i < count; i++) {
            vec g = dy * C[t * stride + n + i] + w[i];
            w[i] = a[AT_ONCE * t + i] * g;
            vec through = w[i] * h[AT_ONCE * t + i];
            g_B += g * B[t * stride + n + i];
            g_A += through * A[i];
            sum_A[i] += through * dt;
            // This step no longer needs a and h. Reuse their memory for the values to sum over the channels.
            a[AT_ONCE * t + i] = g * x;
            h[AT_ONCE * (t + 1) + i] *= dy;
        }
        all_g_B[t] = g_B;
        all_g_A[t] = g_A;
    }
#pragma GCC unroll 4
    for (int i = 0; i < count; i++) carry[i] = w[i], grad_A[i] += sum_A[i];

    for (int64_t t = steps; t < PADDED_CHUNK - 1 && t % LANES; t++)
        for (int i = 0; i < count; i++) a[AT_ONCE * t + i] = h[AT_ONCE * (t + 1) + i] = splat(0.0f);
    for (int64_t t = 0; t < steps; t += LANES)
#pragma GCC unroll 4
        for (int i = 0; i < count; i++) {
            store((float *)m->sums_B + (n + i) * PADDED_CHUNK + t, sum_lanes(a + AT_ONCE * t + i, AT_ONCE));
            store((float *)m->sums_C + (n + i) * PADDED_CHUNK + t, sum_lanes(h + AT_ONCE * (t + 1) + i, AT_ONCE));
        }
}

// Add the sums of a chunk, (state, step), to the gradients of the panel, (step, state).
static void add_sums(vec *grad, const vec *sums, int64_t state_size, int64_t vectors, int64_t steps) {
    for (int64_t t = 0; t < steps; t += LANES)
        for (int64_t v = 0; v < vectors; v++) {
            vec tile[LANES];
            for (int64_t i = 0; i < LANES; i++)
                tile[i] = v * LANES + i < state_size ? load((const float *)sums + (v * LANES + i) * PADDED_CHUNK + t)
                                                     : splat(0.0f);
            transpose(tile);
            for (int64_t i = 0; i < LANES && t + i < steps; i++) grad[(t + i) * vectors + v] += tile[i];
        }
}

// Compute the gradients of one chunk of one block. Overwrites m->delta and m->u with their gradients and adds to all
// other gradients of m.
static void reverse_chunk(const backward_memory *m, const scan_problem *p, int64_t direction, block channels,
                          int64_t index, int64_t first, int64_t steps, const float *saved) {
    int64_t vectors = state_vectors(p), stride = vectors * LANES, N = p->state_size, n = 0;
    vec *delta = m->delta + first, *u = m->u + first, *grad_y = m->grad_y + first;
    const float *B = (const float *)(m->B + first * vectors), *C = (const float *)(m->C + first * vectors);
    // The pass runs backwards in time, so the next chunk to process is the one before.
    for (int64_t i = 0; i < N; i++) prefetch(saved, (i - N) * p->channels);
    for (int64_t t = 0; t < steps; t++) {
        m->input[t] = delta[t] * u[t];
        m->g_B[t] = m->g_A[t] = splat(0.0f);
    }
    share_factors(m->shared, p, delta, steps, m->A_log2 + index * N);
    int64_t pass = 0, shared_stride = shared_factors(p);
#define REVERSE(count, form) \
    reverse_states(count, form, m, steps, delta, grad_y, B, C, stride, saved, p->channels, channels.lanes, n, index * N, \
                   m->wanted[pass], first, shared_stride)
    for (; n + AT_ONCE <= N; n += AT_ONCE, pass += pass < PASSES) {
        if (p->decay == SCAN_DECAY_POWER)
            REVERSE(AT_ONCE, SCAN_DECAY_POWER);
        else if (p->decay == SCAN_DECAY_SCALAR)
            REVERSE(AT_ONCE, SCAN_DECAY_SCALAR);
        else
            REVERSE(AT_ONCE, SCAN_DECAY_FREE);
    }
    // The last states of the structured forms compute their own factors, which are the same up to rounding.
    for (; n < N; n++, pass += pass < PASSES) REVERSE(1, SCAN_DECAY_FREE);
#undef REVERSE
    add_sums(m->grad_B + first * vectors, m->sums_B, N, vectors, steps);
    add_sums(m->grad_C + first * vectors, m->sums_C, N, vectors, steps);

    vec skip = load_channels(p->D, p, direction, channels), grad_D = splat(0.0f), grad_bias = splat(0.0f);
    for (int64_t t = 0; t < steps; t++) {
        vec to_delta = u[t] * m->g_B[t] + m->g_A[t];
        if (p->softplus) to_delta *= one_minus_exp_of_minus(delta[t]);
        grad_D += grad_y[t] * u[t];
        grad_bias += to_delta;
        u[t] = delta[t] * m->g_B[t] + skip * grad_y[t];
        delta[t] = to_delta;
    }
    m->grad_D[index] += grad_D;
    m->grad_bias[index] += grad_bias;
}

// Set the cache lines that the passes prefetch: those that the next block gathers and this block scatters.
static void plan_backward_fetches(backward_memory *m, const scan_problem *p, const scan_task *task, int64_t direction,
                                  int64_t panel_index, int64_t index, const panel *q) {
    int64_t pixels = pixels_of(p), maps = task->batch * p->channels;
    int64_t planes = (task->batch * p->directions + direction) * p->channels;
    int64_t channel = block_of(p, task, index).channel;
    for (int i = 0; i <= PASSES; i++) m->wanted[i][0] = m->wanted[i][1] = (lines_ahead){(const float *)m->delta, 0, 0};
    m->wanted[0][1] = ahead_of(p->grad_u + (maps + channel) * pixels, pixels, q);
    m->wanted[1][1] = ahead_of(p->grad_delta + (planes + channel) * pixels, pixels, q);
    panel next = *q;
    if (++index == task->blocks) {
        if (panel_index == 0) return;
        next = panel_of(p, direction, panel_index - 1);
        index = 0;
    }
    channel = block_of(p, task, index).channel;
    m->wanted[0][0] = ahead_of(p->delta + (planes + channel) * pixels, pixels, &next);
    m->wanted[1][0] = ahead_of(p->u + (maps + channel) * pixels, pixels, &next);
    m->wanted[2][0] = ahead_of(p->grad_y + (maps + channel) * pixels, pixels, &next);
}

// Write the gradients of A, D and delta_bias for the channels of a block.
static void store_parameters(const backward_memory *m, const scan_problem *p, const scan_task *task, int64_t direction,
                             int64_t index) {
    block channels = block_of(p, task, index);
    int64_t N = p->state_size;
    int64_t at = (task->batch * p->directions + direction) * p->channels + channels.channel;
    store_part(p->grad_D + at, m->grad_D[index], channels.lanes);
    store_part(p->grad_bias + at, m->grad_bias[index], channels.lanes);
    const vec *grad_A = m->grad_A + index * N;
    if (p->decay == SCAN_DECAY_FREE) {
        for (int64_t i = 0; i < channels.lanes; i++)
            for (int64_t n = 0; n < N; n++) p->grad_A[(at + i) * N + n] = grad_A[n][i];
    } else {
        vec sum = splat(0.0f);
        for (int64_t n = 0; n < N; n++) sum += grad_A[n] * rate_multiple(p, n);
        store_part(p->grad_A + at, sum, channels.lanes);
    }
}

static void backward(const scan_problem *p, const scan_task *task, void *scratch) {
    backward_memory m;
    lay_out(&m, p, task->blocks, scratch);
    int64_t pixels = pixels_of(p), vectors = state_vectors(p), N = p->state_size;
    int64_t projections = p->batch * p->directions * p->groups * N * pixels;
    float *grad_B = task->part ? p->more_grad_B + (task->part - 1) * projections : p->grad_B;
    float *grad_C = task->part ? p->more_grad_C + (task->part - 1) * projections : p->grad_C;
    for (int64_t direction = 0; direction < p->directions; direction++) {
        for (int64_t i = 0; i < task->blocks; i++) {
            load_A(m.A + i * N, p, direction, block_of(p, task, i), 1.0f);
            load_A(m.A_log2 + i * N, p, direction, block_of(p, task, i), LOG2_E);
            m.grad_D[i] = m.grad_bias[i] = splat(0.0f);
        }
        memset(m.carry, 0, (size_t)(task->blocks * N) * sizeof(vec));
        memset(m.grad_A, 0, (size_t)(task->blocks * N) * sizeof(vec));
        walk w = walk_of(p, direction);
        for (int64_t index = w.panels - 1; index >= 0; index--) {
            panel q = panel_of(p, direction, index);
            gather_projections(m.B, m.C, p, task, direction, &q);
            memset(m.grad_B, 0, (size_t)(q.steps * vectors) * sizeof(vec));
            memset(m.grad_C, 0, (size_t)(q.steps * vectors) * sizeof(vec));
            for (int64_t i = 0; i < task->blocks; i++) {
                block channels = block_of(p, task, i);
                int64_t map = (task->batch * p->channels + channels.channel) * pixels;
                int64_t plane = (task->batch * p->directions + direction) * p->channels + channels.channel;
                gather_delta(m.delta, p, task, direction, channels, &q);
                gather(m.u, 1, p->u + map, pixels, channels.lanes, &q);
                gather(m.grad_y, 1, p->grad_y + map, pixels, channels.lanes, &q);
                plan_backward_fetches(&m, p, task, direction, index, i, &q);
                for (int64_t chunk = divide_up(q.steps, SCAN_CHUNK_STEPS) - 1; chunk >= 0; chunk--) {
                    int64_t first = chunk * SCAN_CHUNK_STEPS;
                    reverse_chunk(&m, p, direction, channels, i, first, smaller(SCAN_CHUNK_STEPS, q.steps - first),
                                  p->states + state_offset(p, task, direction, index * w.chunks + chunk, channels));
                }
                scatter(p->grad_delta + plane * pixels, pixels, channels.lanes, m.delta, 1, &q, 0);
                scatter(p->grad_u + map, pixels, channels.lanes, m.u, 1, &q, direction > 0);
            }
            int64_t offset = projection_offset(p, task, direction);
            for (int64_t v = 0; v < vectors; v++) {
                int64_t state = v * LANES, lanes = smaller(LANES, N - state);
                scatter(grad_B + offset + state * pixels, pixels, lanes, m.grad_B + v, vectors, &q, 0);
                scatter(grad_C + offset + state * pixels, pixels, lanes, m.grad_C + v, vectors, &q, 0);
            }
        }
        for (int64_t i = 0; i < task->blocks; i++) store_parameters(&m, p, task, direction, i);
    }
}
