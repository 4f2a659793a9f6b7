// SPDX-License-Identifier: Apache-2.0
// A walk is one direction over one map. A panel is a part of the map that a walk covers in consecutive steps: a run of
// pixels for row walks, several whole columns for column walks, or a whole small map. gather and scatter transpose a
// panel between the layout of the map (channel, pixel) and the layout of the scan (step, channel), LANES x LANES floats
// at a time. So no permuted copy of the map is needed.

typedef struct {
    int64_t origin;              // index of the pixel in its first row and column
    int64_t rows, columns;       // size in pixels
    int64_t row_stride;          // pixels from one row to the next in the map
    int64_t steps;               // rows * columns
    int64_t first_step;          // step of the panel's pixel (0, 0)
    int64_t row_step, column_step;  // steps from a pixel to the one below and to the one on the right; negative if reversed
    int folded;                  // the panel is the whole map, seen as one row that wraps every row_stride pixels
} panel;

typedef struct {
    int64_t panels;      // panels of a walk
    int64_t panel_steps; // steps of the largest panel
    int64_t chunks;      // chunks of the largest panel
} walk;

// Column walks process maps up to this size as one run of pixels, so that no vector is partly empty at the end of a
// short row.
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

// Return panel number `index` in the order of the walk.
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

// Cache lines that are needed soon. They are prefetched one by one during the arithmetic of another panel. The lines
// belong to LANES maps: row by row for column walks, along the row for row walks.
typedef struct {
    const float *start;
    int64_t lane_stride, line_stride;
} lines_ahead;

INLINE lines_ahead ahead_of(const float *map, int64_t lane_stride, const panel *q) {
    return (lines_ahead){map + q->origin, lane_stride, q->rows == 1 ? SCAN_PANEL_COLUMNS : q->row_stride};
}

// Prefetch the cache line of base[floats]; an address outside the array is harmless.
INLINE void prefetch(const float *base, int64_t floats) {
    __builtin_prefetch((const void *)((uintptr_t)base + (uintptr_t)floats * sizeof(float)));
}

INLINE void fetch(lines_ahead lines, int64_t index) {
    int64_t floats = index % LANES * lines.lane_stride + index / LANES * lines.line_stride;
    prefetch(lines.start, floats);
}

// A tile is up to LANES neighbouring pixels of one row of a panel.
typedef struct {
    int64_t row, column;          // position in the panel; start with {0}
    int64_t folded_step, folded_column;  // state of the walk over a folded panel
    int64_t pixel, count;         // index of the first pixel in the map, number of pixels
    int64_t steps[LANES];         // step of each pixel
} tile;

// Move to the next tile of the panel; return 0 after the last one. The first call moves to the first tile.
INLINE int next_tile(tile *t, const panel *q) {
    t->column += t->count;
    if (t->column >= q->columns) {
        t->column = 0;
        t->row++;
    }
    if (t->row >= q->rows) return 0;
    t->count = smaller(LANES, q->columns - t->column);
    t->pixel = q->origin + t->row * q->row_stride + t->column;
    if (!q->folded) {
        int64_t step = q->first_step + t->row * q->row_step + t->column * q->column_step;
        for (int i = 0; i < LANES; i++) t->steps[i] = step + i * q->column_step;
        return 1;
    }
    // The next pixel is on the right, or the first one of the next row.
    for (int i = 0; i < t->count; i++) {
        t->steps[i] = q->first_step + t->folded_step;
        if (++t->folded_column < q->row_stride) {
            t->folded_step += q->column_step;
        } else {
            t->folded_column = 0;
            t->folded_step += q->row_step - (q->row_stride - 1) * q->column_step;
        }
    }
    return 1;
}

// Load the tile of lanes 0 .. lanes-1 and transpose it: to[i] holds pixel i. Lane i starts i * lane_stride floats further.
INLINE void load_tile(vec to[LANES], const float *map, int64_t lane_stride, int64_t lanes, const tile *t) {
    const float *from = map + t->pixel;
    if (lanes >= LANES && t->count == LANES) {
        const float *rows[LANES];
        for (int i = 0; i < LANES; i++) rows[i] = from + i * lane_stride;
        load_transposed(to, rows);
        return;
    }
    for (int i = 0; i < LANES; i++) to[i] = i < lanes ? load_part(from + i * lane_stride, t->count) : splat(0.0f);
    transpose(to);
}

// Set to[step * to_stride] to lanes 0 .. lanes-1 of the map at that step. Lane i starts i * lane_stride floats further.
static void gather(vec *to, int64_t to_stride, const float *from, int64_t lane_stride, int64_t lanes, const panel *q) {
    for (tile t = {0}; next_tile(&t, q);) {
        vec pixels[LANES];
        load_tile(pixels, from, lane_stride, lanes, &t);
        for (int i = 0; i < t.count; i++) to[t.steps[i] * to_stride] = pixels[i];
    }
}

// The inverse of gather. If `add`, add to the map instead of overwriting it.
static void scatter(float *to, int64_t lane_stride, int64_t lanes, const vec *from, int64_t from_stride, const panel *q,
                    int add) {
    static const vec zeros;
    for (tile t = {0}; next_tile(&t, q);) {
        const float *pixels[LANES];
        vec rows[LANES];
        for (int i = 0; i < LANES; i++)
            pixels[i] = (const float *)(i < t.count ? from + t.steps[i] * from_stride : &zeros);
        load_transposed(rows, pixels);
        for (int i = 0; i < LANES && i < lanes; i++) {
            float *at = to + t.pixel + i * lane_stride;
            if (add) rows[i] += load_part(at, t.count);
            store_part(at, rows[i], t.count);
        }
    }
}
