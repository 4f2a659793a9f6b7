// SPDX-License-Identifier: Apache-2.0
// A panel is a part of the map that a walk covers without leaving it: a run of pixels for row walks, a few whole
// columns for column walks, the whole of a small map. It is turned, LANES x LANES floats at a time, between the map's
// layout (channel, pixel) and the scan's (step, channel), so that no permuted copy of the map is ever made.

typedef struct {
    int64_t origin;              // pixel of its first row and column
    int64_t rows, columns;       // pixels
    int64_t row_stride;          // pixels from one row to the next in the map
    int64_t steps;               // rows * columns
    int64_t first_step;          // step of pixel (0, 0)
    int64_t row_step, column_step;  // steps from a pixel to the one below and to the right, negative if reversed
    int folded;                  // the one row is the whole map, folded every row_stride pixels
} panel;

typedef struct {
    int64_t panels;      // panels of a walk
    int64_t panel_steps; // steps of the largest
    int64_t chunks;      // chunks of the largest
} walk;

// Column walks take maps up to this size whole, as one run of pixels: no vector is wasted on the ends of short rows.
#define SMALL_MAP_PIXELS 2048
#define ROW_PANEL_STEPS (2 * SCAN_CHUNK_STEPS)

INLINE int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

INLINE walk walk_of(const scan_problem *p, int64_t direction) {
    int64_t pixels = p->height * p->width;
    walk w;
    if (direction % 2 == 0) {
        w.panels = divide_up(pixels, ROW_PANEL_STEPS);
        w.panel_steps = smaller(pixels, ROW_PANEL_STEPS);
    } else if (pixels <= SMALL_MAP_PIXELS) {
        w.panels = 1;
        w.panel_steps = pixels;
    } else {
        w.panels = divide_up(p->width, SCAN_PANEL_COLUMNS);
        w.panel_steps = p->height * smaller(p->width, SCAN_PANEL_COLUMNS);
    }
    w.chunks = divide_up(w.panel_steps, SCAN_CHUNK_STEPS);
    return w;
}

// Panel number `index` in the order of the walk.
INLINE panel panel_of(const scan_problem *p, int64_t direction, int64_t index) {
    panel q;
    q.folded = direction % 2 == 1 && p->height * p->width <= SMALL_MAP_PIXELS;
    if (direction >= 2) index = walk_of(p, direction).panels - 1 - index;
    if (direction % 2 == 0) {
        q.origin = index * ROW_PANEL_STEPS;
        q.rows = 1;
        q.columns = smaller(ROW_PANEL_STEPS, p->height * p->width - q.origin);
        q.row_step = 0;
        q.column_step = 1;
    } else if (q.folded) {
        q.origin = 0;
        q.rows = 1;
        q.columns = p->height * p->width;
        q.row_step = 1;
        q.column_step = p->height;
    } else {
        q.origin = index * SCAN_PANEL_COLUMNS;
        q.rows = p->height;
        q.columns = smaller(SCAN_PANEL_COLUMNS, p->width - q.origin);
        q.row_step = 1;
        q.column_step = p->height;
    }
    q.row_stride = p->width;
    q.steps = q.rows * q.columns;
    q.first_step = 0;
    if (direction >= 2) {
        q.first_step = q.steps - 1;
        q.row_step = -q.row_step;
        q.column_step = -q.column_step;
    }
    return q;
}

// Cache lines that are wanted soon: fetched one by one while the arithmetic of another panel keeps the core busy. They
// are those of LANES maps, row by row for column walks, along the row for row walks.
typedef struct {
    const float *start;
    int64_t lane_stride, line_stride;
} lines_ahead;

INLINE lines_ahead ahead_of(const float *map, int64_t lane_stride, const panel *q) {
    return (lines_ahead){map + q->origin, lane_stride, q->rows == 1 ? SCAN_PANEL_COLUMNS : q->row_stride};
}

// Ask for the cache line of base[floats]; an address outside the array does no harm.
INLINE void prefetch(const float *base, int64_t floats) {
    __builtin_prefetch((const void *)((uintptr_t)base + (uintptr_t)floats * sizeof(float)));
}

INLINE void fetch(lines_ahead lines, int64_t index) {
    int64_t floats = index % LANES * lines.lane_stride + index / LANES * lines.line_stride;
    prefetch(lines.start, floats);
}

// Step of the pixel to the right, or of the first one of the next row of a folded panel.
INLINE int64_t next_step(const panel *q, int64_t step, int64_t *column) {
    if (++*column < q->row_stride) return step + q->column_step;
    *column = 0;
    return step + q->row_step - (q->row_stride - 1) * q->column_step;
}

// to[step * to_stride] = lanes 0 .. lanes-1 of the map at that step; lane i lies i * lane_stride floats further.
static void gather(vec *to, int64_t to_stride, const float *from, int64_t lane_stride, int64_t lanes, const panel *q) {
    int64_t folded_step = q->first_step, folded_column = 0;
    for (int64_t row = 0; row < q->rows; row++) {
        const float *line = from + q->origin + row * q->row_stride;
        for (int64_t column = 0; column < q->columns; column += LANES) {
            int64_t count = smaller(LANES, q->columns - column);
            int64_t step = q->first_step + row * q->row_step + column * q->column_step;
            vec tile[LANES];
            if (lanes >= LANES && count == LANES) {
#pragma GCC unroll 16
                for (int i = 0; i < LANES; i++) tile[i] = load(line + column + i * lane_stride);
            } else {
                for (int i = 0; i < LANES; i++)
                    tile[i] = i < lanes ? load_part(line + column + i * lane_stride, count) : splat(0.0f);
            }
            transpose(tile);
            if (q->folded) {
                for (int i = 0; i < count; i++) {
                    to[folded_step * to_stride] = tile[i];
                    folded_step = next_step(q, folded_step, &folded_column);
                }
            } else if (count == LANES) {
#pragma GCC unroll 16
                for (int i = 0; i < LANES; i++) to[(step + i * q->column_step) * to_stride] = tile[i];
            } else {
                for (int i = 0; i < count; i++) to[(step + i * q->column_step) * to_stride] = tile[i];
            }
        }
    }
}

// The inverse of gather; adds to the map if `add`.
static void scatter(float *to, int64_t lane_stride, int64_t lanes, const vec *from, int64_t from_stride, const panel *q,
                    int add) {
    int64_t folded_step = q->first_step, folded_column = 0;
    for (int64_t row = 0; row < q->rows; row++) {
        float *line = to + q->origin + row * q->row_stride;
        for (int64_t column = 0; column < q->columns; column += LANES) {
            int64_t count = smaller(LANES, q->columns - column);
            int64_t step = q->first_step + row * q->row_step + column * q->column_step;
            vec tile[LANES];
            if (q->folded) {
                for (int i = 0; i < LANES; i++) {
                    tile[i] = i < count ? from[folded_step * from_stride] : splat(0.0f);
                    if (i < count) folded_step = next_step(q, folded_step, &folded_column);
                }
            } else if (count == LANES) {
#pragma GCC unroll 16
                for (int i = 0; i < LANES; i++) tile[i] = from[(step + i * q->column_step) * from_stride];
            } else {
                for (int i = 0; i < LANES; i++)
                    tile[i] = i < count ? from[(step + i * q->column_step) * from_stride] : splat(0.0f);
            }
            transpose(tile);
            for (int i = 0; i < LANES && i < lanes; i++) {
                float *at = line + column + i * lane_stride;
                if (add) tile[i] += load_part(at, count);
                store_part(at, tile[i], count);
            }
        }
    }
}
