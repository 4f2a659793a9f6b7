// SPDX-License-Identifier: Apache-2.0
// Run the scan kernel, compiled with sanitizers, on many random shapes. Every array has its exact size, so that the
// sanitizers detect each access beyond an end. tools/sanitize_scan.sh compiles and starts this program.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "scan.h"

int fusion_mamba_scan_forward(const scan_problem *, const char *, int, scan_parallel);
int fusion_mamba_scan_backward(const scan_problem *, const char *, int, scan_parallel);
const char *fusion_mamba_scan_instruction_set(const char *);

static uint64_t seed = 1;

static float uniform(float low, float high) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return low + (high - low) * (float)(seed >> 40) / 16777216.0f;
}

static float *array(int64_t size, float low, float high) {
    float *values = malloc((size_t)(size > 0 ? size : 1) * sizeof(float));
    if (!values) exit(3);
    for (int64_t i = 0; i < size; i++) values[i] = uniform(low, high);
    return values;
}

static int64_t between(int64_t low, int64_t high) { return low + (int64_t)(uniform(0.0f, 0.9999f) * (float)(high - low + 1)); }

static int64_t chunks_of(int64_t directions, int64_t height, int64_t width) {
    if (directions == 1) return (height * width + SCAN_CHUNK_STEPS - 1) / SCAN_CHUNK_STEPS;
    int64_t panels = (width + SCAN_PANEL_COLUMNS - 1) / SCAN_PANEL_COLUMNS;
    return panels * ((height * SCAN_PANEL_COLUMNS + SCAN_CHUNK_STEPS - 1) / SCAN_CHUNK_STEPS);
}

static void run_case(const char *set, int extreme) {
    scan_problem p = {.batch = between(1, 2), .directions = between(0, 2) ? 4 : 1, .groups = between(1, 3)};
    p.channels = p.groups * between(1, 40);
    p.state_size = between(1, 19);
    // Half of the maps are large, so that column walks split them into panels.
    int64_t longest = between(0, 1) ? 25 : 75;
    p.height = p.directions == 1 ? 1 : between(longest / 2, longest);
    p.width = p.directions == 1 ? between(1, 700) : between(longest / 2, longest);
    if (p.directions == 4 && !between(0, 3)) p.height = between(1, 3);
    p.softplus = between(0, 1);
    p.decay = between(SCAN_DECAY_FREE, SCAN_DECAY_SCALAR);
    int64_t rates = p.decay == SCAN_DECAY_FREE ? p.state_size : 1;
    p.chunks = chunks_of(p.directions, p.height, p.width);
    p.parts = between(1, (p.channels / p.groups + 15) / 16);
    int64_t pixels = p.height * p.width, maps = p.batch * p.channels * pixels;
    int64_t per_direction = p.directions * p.channels;
    int64_t projections = p.batch * p.directions * p.groups * p.state_size * pixels;
    float *arrays[32];
    int count = 0;
#define ARRAY(size, low, high) (arrays[count++] = array(size, low, high))
    p.u = ARRAY(maps, -1, 1);
    p.delta = ARRAY(maps * p.directions, extreme ? -1e30f : -4, extreme ? 1e30f : 4);
    p.A = ARRAY(per_direction * rates, extreme ? -1e30f : -8, extreme ? 1e30f : 0);
    p.B = ARRAY(projections, -1, 1);
    p.C = ARRAY(projections, -1, 1);
    p.D = between(0, 1) ? ARRAY(per_direction, -1, 1) : 0;
    p.delta_bias = between(0, 1) ? ARRAY(per_direction, -1, 1) : 0;
    p.y = ARRAY(maps, 0, 0);
    p.states = ARRAY(p.batch * p.directions * p.chunks * p.state_size * p.channels, 0, 0);
    p.grad_y = ARRAY(maps, -1, 1);
    p.grad_u = ARRAY(maps, 0, 0);
    p.grad_delta = ARRAY(maps * p.directions, 0, 0);
    p.grad_A = ARRAY(p.batch * per_direction * rates, 0, 0);
    p.grad_B = ARRAY(projections, 0, 0);
    p.grad_C = ARRAY(projections, 0, 0);
    p.more_grad_B = ARRAY(projections * (p.parts - 1), 0, 0);
    p.more_grad_C = ARRAY(projections * (p.parts - 1), 0, 0);
    p.grad_D = ARRAY(p.batch * per_direction, 0, 0);
    p.grad_bias = ARRAY(p.batch * per_direction, 0, 0);
    int threads = (int)between(1, 3);
    int code = fusion_mamba_scan_forward(&p, set, threads, 0);
    if (!code) code = fusion_mamba_scan_backward(&p, set, threads, 0);
    if (code) {
        fprintf(stderr, "the kernel rejected its arguments: code %d\n", code);
        exit(2);
    }
    for (int i = 0; i < count; i++) free(arrays[i]);
}

int main(int argc, char **argv) {
    int cases = argc > 1 ? atoi(argv[1]) : 200;
    const char *sets[] = {"baseline", "avx2", "avx512"};
    for (int s = 0; s < 3; s++) {
        if (!fusion_mamba_scan_instruction_set(sets[s])) continue;
        for (int i = 0; i < cases; i++) run_case(sets[s], i % 4 == 3);
        printf("%s: %d shapes without an error\n", sets[s], cases);
    }
    return 0;
}
