// SPDX-License-Identifier: Apache-2.0
// Forward pass: h = exp(delta A) h + delta u B and y = h C + D u, for LANES channels at a time.

// Small enough that delta, input and y of a tile stay in the L1 cache during all passes over the states.
#define TILE_STEPS 64

// Run `count` states over a tile. Reads and updates h_memory, and adds to y.
INLINE void advance_states(const int count, int64_t steps, const vec *delta, const vec *input, vec *y, const float *B,
                           const float *C, int64_t stride, const vec *A, vec *h_memory, const lines_ahead wanted[2],
                           int64_t first_line) {
    vec h[8], rate[8];
#pragma GCC unroll 8
    for (int i = 0; i < count; i++) h[i] = h_memory[i], rate[i] = A[i];
    for (int64_t t = 0; t < steps; t++) {
        fetch(wanted[0], first_line + t);
        fetch(wanted[1], first_line + t);
        vec dt = delta[t], x = input[t], sum = y[t];
#pragma GCC unroll 8
        for (int i = 0; i < count; i++) {
            h[i] = exp2_of(dt * rate[i]) * h[i] + x * B[t * stride + i];
            sum += h[i] * C[t * stride + i];
        }
        y[t] = sum;
    }
#pragma GCC unroll 8
    for (int i = 0; i < count; i++) h_memory[i] = h[i];
}

static void forward_tile(int64_t state_size, int64_t steps, const vec *delta, const vec *input, vec *y, const float *B,
                         const float *C, int64_t stride, const vec *A, vec *h, const lines_ahead wanted[2][2],
                         int64_t first_line) {
    int64_t n = 0, pass = 0;
    for (; n + 8 <= state_size; n += 8, pass = 1)
        advance_states(8, steps, delta, input, y, B + n, C + n, stride, A + n, h + n, wanted[pass], first_line);
    for (; n + 4 <= state_size; n += 4, pass = 1)
        advance_states(4, steps, delta, input, y, B + n, C + n, stride, A + n, h + n, wanted[pass], first_line);
    for (; n < state_size; n++, pass = 1)
        advance_states(1, steps, delta, input, y, B + n, C + n, stride, A + n, h + n, wanted[pass], first_line);
}

// Set the cache lines that the passes over the states prefetch. The first pass prefetches delta of the next block and y
// of this block; the other passes prefetch u of the next block.
static void plan_fetches(lines_ahead wanted[2][2], const scan_problem *p, const scan_task *task, int64_t direction,
                         int64_t panel_index, int64_t index, const panel *q, const void *scratch) {
    int64_t pixels = pixels_of(p), maps = task->batch * p->channels;
    lines_ahead nothing = {scratch, 0, 0};
    wanted[0][0] = wanted[1][0] = wanted[1][1] = nothing;
    wanted[0][1] = ahead_of(p->y + (maps + block_of(p, task, index).channel) * pixels, pixels, q);
    panel next = *q;
    if (++index == task->blocks) {
        if (panel_index + 1 == walk_of(p, direction).panels) return;
        next = panel_of(p, direction, panel_index + 1);
        index = 0;
    }
    int64_t channel = block_of(p, task, index).channel;
    int64_t plane = (task->batch * p->directions + direction) * p->channels + channel;
    wanted[0][0] = ahead_of(p->delta + plane * pixels, pixels, &next);
    wanted[1][0] = ahead_of(p->u + (maps + channel) * pixels, pixels, &next);
}

static int64_t forward_scratch(const scan_problem *p, int64_t blocks) {
    return (int64_t)sizeof(vec) * (most_panel_steps(p) * (3 + 2 * state_vectors(p)) + blocks * 2 * p->state_size);
}

static void save_states(const scan_problem *p, const scan_task *task, int64_t direction, int64_t chunk, block channels,
                        const vec *h) {
    float *to = p->states + state_offset(p, task, direction, chunk, channels);
    for (int64_t n = 0; n < p->state_size; n++) store_part(to + n * p->channels, h[n], channels.lanes);
}

static void forward(const scan_problem *p, const scan_task *task, void *scratch) {
    int64_t steps = most_panel_steps(p), vectors = state_vectors(p), N = p->state_size, pixels = pixels_of(p);
    vec *delta = scratch, *input = delta + steps, *y = input + steps, *B = y + steps, *C = B + steps * vectors;
    vec *A = C + steps * vectors, *h = A + task->blocks * N;

    for (int64_t direction = 0; direction < p->directions; direction++) {
        for (int64_t i = 0; i < task->blocks; i++) load_A(A + i * N, p, direction, block_of(p, task, i), LOG2_E);
        memset(h, 0, (size_t)(task->blocks * N) * sizeof(vec));
        walk w = walk_of(p, direction);
        for (int64_t index = 0; index < w.panels; index++) {
            panel q = panel_of(p, direction, index);
            gather_projections(B, C, p, task, direction, &q);
            for (int64_t i = 0; i < task->blocks; i++) {
                block channels = block_of(p, task, i);
                int64_t map = (task->batch * p->channels + channels.channel) * pixels;
                gather_delta(delta, p, task, direction, channels, &q);
                gather(input, 1, p->u + map, pixels, channels.lanes, &q);
                vec skip = load_channels(p->D, p, direction, channels);
                for (int64_t t = 0; t < q.steps; t++) {
                    y[t] = skip * input[t];
                    input[t] *= delta[t];
                }
                lines_ahead wanted[2][2];
                plan_fetches(wanted, p, task, direction, index, i, &q, scratch);
                for (int64_t t = 0; t < q.steps; t += TILE_STEPS) {
                    if (p->states && t % SCAN_CHUNK_STEPS == 0)
                        save_states(p, task, direction, index * w.chunks + t / SCAN_CHUNK_STEPS, channels, h + i * N);
                    forward_tile(N, smaller(TILE_STEPS, q.steps - t), delta + t, input + t, y + t,
                                 (const float *)(B + t * vectors), (const float *)(C + t * vectors), vectors * LANES,
                                 A + i * N, h + i * N, wanted, t);
                }
                scatter(p->y + map, pixels, channels.lanes, y, 1, &q, direction > 0);
            }
        }
    }
}
