// SPDX-License-Identifier: Apache-2.0
// Forward pass: h = exp(delta A) h + delta u B and y = h C + D u, for LANES channels at a time.

// Small enough that delta, input and y of a tile stay in the L1 cache during all passes over the states.
#define TILE_STEPS 64

// States of one pass over a tile: as many as the registers hold.
#if LANES == 16 || defined(__aarch64__)
#define PASS_STATES 8
#else
#define PASS_STATES 4
#endif

typedef struct {
    int64_t steps, stride;       // steps of the tile; floats from one step of B and C to the next
    const vec *delta, *input;
    const float *B, *C;
    const vec *A_log2;           // rates of all states
    vec *shared;                 // shared decay factors
    int64_t shared_stride;
    vec *y, *h;                  // y is added to, h is updated
    const lines_ahead (*wanted)[2];
    int64_t first_line;
} forward_tile;

// Run the states n .. n + count - 1 over a tile.
INLINE void advance_states(const int count, const int form, const int clamp, const forward_tile *tile, int64_t n) {
    const forward_tile m = *tile;
    const lines_ahead ahead = m.wanted[n > 0][0], also = m.wanted[n > 0][1];
    vec h[8];
    EACH(h[i] = m.h[n + i]);
    for (int64_t t = 0; t < m.steps; t++) {
        fetch(ahead, m.first_line + t);
        fetch(also, m.first_line + t);
        vec decay[8], x = m.input[t], sum = m.y[t];
        decays_each(count, form, clamp, decay, m.delta[t], m.shared + t * m.shared_stride, m.A_log2, n);
        EACH(h[i] = decay[i] * h[i] + x * m.B[t * m.stride + n + i]);
        EACH(sum += h[i] * m.C[t * m.stride + n + i]);
        m.y[t] = sum;
    }
    EACH(m.h[n + i] = h[i]);
}

INLINE void advance_all(const int form, const int clamp, const forward_tile *tile, int64_t state_size) {
    const int count = form == SCAN_DECAY_FREE ? PASS_STATES : 8;
    int64_t n = 0;
    for (; n + count <= state_size; n += count) advance_states(count, form, clamp, tile, n);
    if (count == 8)
        for (; n + 4 <= state_size; n += 4) advance_states(4, form, clamp, tile, n);
    for (; n < state_size; n++)
        advance_states(1, form == SCAN_DECAY_POWER ? SCAN_DECAY_FREE : form, clamp, tile, n);
}

APART void advance_free(const forward_tile *tile, int64_t N) { advance_all(SCAN_DECAY_FREE, 1, tile, N); }
APART void advance_free_in_range(const forward_tile *tile, int64_t N) { advance_all(SCAN_DECAY_FREE, 0, tile, N); }
APART void advance_power(const forward_tile *tile, int64_t N) { advance_all(SCAN_DECAY_POWER, 1, tile, N); }
APART void advance_scalar(const forward_tile *tile, int64_t N) { advance_all(SCAN_DECAY_SCALAR, 1, tile, N); }

static void advance_tile(const scan_problem *p, forward_tile *tile, vec most_rate) {
    share_factors(tile->shared, p, tile->delta, tile->steps, tile->A_log2);
    if (p->decay == SCAN_DECAY_POWER)
        advance_power(tile, p->state_size);
    else if (p->decay == SCAN_DECAY_SCALAR)
        advance_scalar(tile, p->state_size);
    else if (LANES < 16 && in_exp2_range(largest_magnitude(tile->delta, tile->steps) * most_rate))
        advance_free_in_range(tile, p->state_size);
    else
        advance_free(tile, p->state_size);
}

// Gather a panel of one block: the step sizes, delta u, and y = D u.
APART void gather_inputs(vec *delta, vec *input, vec *y, const scan_problem *p, const scan_task *task, int64_t direction,
                          block channels, const panel *q) {
    int64_t pixels = pixels_of(p);
    int64_t map = task->batch * p->channels + channels.channel;
    int64_t plane = (task->batch * p->directions + direction) * p->channels + channels.channel;
    vec bias = load_channels(p->delta_bias, p, direction, channels), skip = load_channels(p->D, p, direction, channels);
    for (tile t = {0}; next_tile(&t, q);) {
        vec step[LANES], u[LANES];
        load_tile(step, p->delta + plane * pixels, pixels, channels.lanes, &t);
        step_sizes(step, LANES, p, bias);
        load_tile(u, p->u + map * pixels, pixels, channels.lanes, &t);
        for (int i = 0; i < t.count; i++) {
            int64_t at = t.steps[i];
            delta[at] = step[i];
            input[at] = step[i] * u[i];
            y[at] = skip * u[i];
        }
    }
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
    return (int64_t)sizeof(vec) * (most_panel_steps(p) * (3 + 2 * state_vectors(p)) + blocks * (2 * p->state_size + 1) +
                                   TILE_STEPS * shared_factors(p));
}

static void save_states(const scan_problem *p, const scan_task *task, int64_t direction, int64_t chunk, block channels,
                        const vec *h) {
    float *to = p->states + state_offset(p, task, direction, chunk, channels);
    for (int64_t n = 0; n < p->state_size; n++) store_part(to + n * p->channels, h[n], channels.lanes);
}

static void forward(const scan_problem *p, const scan_task *task, void *scratch) {
    int64_t steps = most_panel_steps(p), vectors = state_vectors(p), N = p->state_size, pixels = pixels_of(p);
    vec *delta = scratch, *input = delta + steps, *y = input + steps, *B = y + steps, *C = B + steps * vectors;
    vec *A = C + steps * vectors, *h = A + task->blocks * N, *most_rate = h + task->blocks * N;
    vec *shared = most_rate + task->blocks;

    for (int64_t direction = 0; direction < p->directions; direction++) {
        for (int64_t i = 0; i < task->blocks; i++) {
            load_A(A + i * N, p, direction, block_of(p, task, i), LOG2_E);
            most_rate[i] = largest_magnitude(A + i * N, N);
        }
        memset(h, 0, (size_t)(task->blocks * N) * sizeof(vec));
        walk w = walk_of(p, direction);
        for (int64_t index = 0; index < w.panels; index++) {
            panel q = panel_of(p, direction, index);
            gather_projections(B, C, p, task, direction, &q);
            for (int64_t i = 0; i < task->blocks; i++) {
                block channels = block_of(p, task, i);
                int64_t map = (task->batch * p->channels + channels.channel) * pixels;
                gather_inputs(delta, input, y, p, task, direction, channels, &q);
                lines_ahead wanted[2][2];
                plan_fetches(wanted, p, task, direction, index, i, &q, scratch);
                for (int64_t t = 0; t < q.steps; t += TILE_STEPS) {
                    if (p->states && t % SCAN_CHUNK_STEPS == 0)
                        save_states(p, task, direction, index * w.chunks + t / SCAN_CHUNK_STEPS, channels, h + i * N);
                    forward_tile tile = {.steps = smaller(TILE_STEPS, q.steps - t), .stride = vectors * LANES,
                                         .delta = delta + t, .input = input + t, .y = y + t, .h = h + i * N,
                                         .B = (const float *)(B + t * vectors), .C = (const float *)(C + t * vectors),
                                         .A_log2 = A + i * N, .shared = shared, .shared_stride = shared_factors(p),
                                         .wanted = wanted, .first_line = t};
                    advance_tile(p, &tile, most_rate[i]);
                }
                scatter(p->y + map, pixels, channels.lanes, y, 1, &q, direction > 0);
            }
        }
    }
}
