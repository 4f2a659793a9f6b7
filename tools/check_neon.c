// SPDX-License-Identifier: Apache-2.0
// Compare the scan kernel with the recurrence in double precision: y and all gradients' directional derivative.
// tools/check_neon.sh compiles this for aarch64 and runs it in qemu.
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scan.h"

int fusion_mamba_scan_forward(const scan_problem *, const char *, int, scan_parallel);
int fusion_mamba_scan_backward(const scan_problem *, const char *, int, scan_parallel);

static uint64_t seed = 1;

static double uniform(double low, double high) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return low + (high - low) * (double)(seed >> 40) / 16777216.0;
}

static float *array(int64_t size, double low, double high) {
    float *values = malloc((size_t)(size + 1) * sizeof(float));
    if (!values) exit(3);
    for (int64_t i = 0; i < size; i++) values[i] = (float)uniform(low, high);
    return values;
}

// Return the pixel of step t of a direction.
static int64_t pixel_of(const scan_problem *p, int64_t direction, int64_t t) {
    if (direction >= 2) t = p->height * p->width - 1 - t;
    return direction % 2 ? t % p->height * p->width + t / p->height : t;
}

// Write y of the recurrence in double precision.
static void expect(const scan_problem *p, double *y) {
    int64_t pixels = p->height * p->width, N = p->state_size, rates = p->decay == SCAN_DECAY_FREE ? N : 1;
    double h[64];
    memset(y, 0, (size_t)(p->batch * p->channels * pixels) * sizeof(double));
    for (int64_t b = 0; b < p->batch; b++)
        for (int64_t k = 0; k < p->directions; k++)
            for (int64_t d = 0; d < p->channels; d++) {
                int64_t group = d / (p->channels / p->groups), row = k * p->channels + d;
                memset(h, 0, sizeof h);
                for (int64_t t = 0; t < pixels; t++) {
                    int64_t at = pixel_of(p, k, t);
                    double step = p->delta[((b * p->directions + k) * p->channels + d) * pixels + at];
                    step = log1p(exp(step + p->delta_bias[row]));
                    double u = p->u[(b * p->channels + d) * pixels + at], sum = p->D[row] * u;
                    for (int64_t n = 0; n < N; n++) {
                        double rate = p->A[row * rates + (rates > 1 ? n : 0)];
                        if (p->decay == SCAN_DECAY_POWER) rate *= (double)(n + 1);
                        int64_t projection = (((b * p->directions + k) * p->groups + group) * N + n) * pixels + at;
                        h[n] = exp(step * rate) * h[n] + step * u * p->B[projection];
                        sum += h[n] * p->C[projection];
                    }
                    y[(b * p->channels + d) * pixels + at] += sum;
                }
            }
}

// Return the sum of grad_y * y.
static double loss(const scan_problem *p, double *y) {
    double sum = 0;
    expect(p, y);
    for (int64_t i = 0; i < p->batch * p->channels * p->height * p->width; i++) sum += p->grad_y[i] * y[i];
    return sum;
}

// Return the error of one gradient: sum(gradient * direction) against a central difference along a random direction.
static double gradient_error(const scan_problem *p, const float *value, const float *gradient, int64_t size,
                             int64_t copies, double *y) {
    float *values = (float *)value, *kept = malloc((size_t)size * sizeof(float)), *direction = array(size, -1, 1);
    double found = 0, norm = 0, step = 1e-3, change = 0;
    memcpy(kept, values, (size_t)size * sizeof(float));
    for (int sign = -1; sign <= 1; sign += 2) {
        for (int64_t i = 0; i < size; i++) values[i] = kept[i] + (float)(sign * step) * direction[i];
        change += sign * loss(p, y);
        for (int64_t i = 0; i < size; i++) {
            double sum = 0;
            for (int64_t c = 0; c < copies; c++) sum += gradient[c * size + i];
            // The rounding of value + step is part of the step.
            found += sign * sum * ((double)values[i] - kept[i]);
            norm += fabs(sum * step * direction[i]);
        }
    }
    memcpy(values, kept, (size_t)size * sizeof(float));
    free(kept);
    free(direction);
    return fabs(found - change) / norm;
}

int main(void) {
    static const int64_t shapes[][7] = {{1, 4, 5, 1, 16, 9, 7}, {2, 1, 12, 3, 7, 1, 260}, {1, 4, 9, 1, 3, 46, 47},
                                        {1, 4, 1, 1, 1, 1, 1}};
    double worst_y = 0, worst_gradient = 0;
    for (int shape = 0; shape < 4; shape++)
        for (int64_t decay = SCAN_DECAY_FREE; decay <= SCAN_DECAY_SCALAR; decay++) {
            const int64_t *s = shapes[shape];
            scan_problem p = {.batch = s[0], .directions = s[1], .channels = s[2], .groups = s[3], .state_size = s[4],
                              .height = s[5], .width = s[6], .parts = 1, .softplus = 1, .decay = decay};
            int64_t pixels = p.height * p.width, maps = p.batch * p.channels * pixels, rows = p.directions * p.channels;
            int64_t projections = p.batch * p.directions * p.groups * p.state_size * pixels;
            int64_t rates = rows * (decay == SCAN_DECAY_FREE ? p.state_size : 1);
            p.chunks = p.directions == 1 ? (pixels + SCAN_CHUNK_STEPS - 1) / SCAN_CHUNK_STEPS
                                         : (p.width + SCAN_PANEL_COLUMNS - 1) / SCAN_PANEL_COLUMNS *
                                               ((p.height * SCAN_PANEL_COLUMNS + SCAN_CHUNK_STEPS - 1) / SCAN_CHUNK_STEPS);
            p.u = array(maps, -1, 1);
            p.delta = array(maps * p.directions, -3, 1);
            p.A = array(rates, -2, -0.1);
            p.B = array(projections, -1, 1);
            p.C = array(projections, -1, 1);
            p.D = array(rows, -1, 1);
            p.delta_bias = array(rows, -2, 1);
            p.grad_y = array(maps, -1, 1);
            p.y = array(maps, 0, 0);
            p.states = array(p.batch * p.directions * p.chunks * p.state_size * p.channels, 0, 0);
            p.grad_u = array(maps, 0, 0);
            p.grad_delta = array(maps * p.directions, 0, 0);
            p.grad_A = array(p.batch * rates, 0, 0);
            p.grad_B = array(projections, 0, 0);
            p.grad_C = array(projections, 0, 0);
            p.grad_D = array(p.batch * rows, 0, 0);
            p.grad_bias = array(p.batch * rows, 0, 0);
            double *y = malloc((size_t)maps * sizeof(double)), most = 0, error = 0;
            if (fusion_mamba_scan_forward(&p, "baseline", 2, 0) || fusion_mamba_scan_backward(&p, "baseline", 2, 0)) return 2;
            expect(&p, y);
            for (int64_t i = 0; i < maps; i++) {
                most = fmax(most, fabs(y[i]));
                // A comparison with NaN is false, so that NaN counts as an error.
                error = fabs(p.y[i] - y[i]) <= error ? error : fabs(p.y[i] - y[i]);
            }
            struct { const float *value, *gradient; int64_t size, copies; } checks[] = {
                {p.u, p.grad_u, maps, 1}, {p.delta, p.grad_delta, maps * p.directions, 1}, {p.A, p.grad_A, rates, p.batch},
                {p.B, p.grad_B, projections, 1}, {p.C, p.grad_C, projections, 1}, {p.D, p.grad_D, rows, p.batch},
                {p.delta_bias, p.grad_bias, rows, p.batch}};
            double gradients = 0;
            for (int i = 0; i < 7; i++) {
                double e = gradient_error(&p, checks[i].value, checks[i].gradient, checks[i].size, checks[i].copies, y);
                gradients = e <= gradients ? gradients : e;
            }
            printf("shape %d, decay %d: y %.1e, gradients %.1e\n", shape, (int)decay, error / most, gradients);
            worst_y = error / most <= worst_y ? worst_y : error / most;
            worst_gradient = gradients <= worst_gradient ? worst_gradient : gradients;
        }
    int right = worst_y < 2e-5 && worst_gradient < 1e-3;
    printf("%s: largest error of y %.1e (limit 2e-5), of gradients along a random direction %.1e (limit 1e-3)\n",
           right ? "agrees" : "DISAGREES", worst_y, worst_gradient);
    return right ? 0 : 1;
}
