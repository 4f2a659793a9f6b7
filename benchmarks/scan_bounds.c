// SPDX-License-Identifier: Apache-2.0
// Lower bounds to which benchmarks/scan.py compares the kernel, with all data in registers or the L1 cache: the kernel's
// vectorised exp on as many (channel, step, state) elements as a scan has, and as many independent multiply-adds as the
// arithmetic of a scan has at least.
#include "simd.h"

// Evaluate `vectors` * LANES exponentials exp2(step * rate) and return a value that depends on every one of them.
static float exponentials(int64_t vectors) {
    enum { STEPS = 64, STATES = 8 };
    static __thread float steps[STEPS];
    vec rate[STATES], sum[STATES];
    for (int i = 0; i < STEPS; i++) steps[i] = 0.001f * (float)(i + 1);
    for (int i = 0; i < STATES; i++) rate[i] = splat(-1.0f - (float)i), sum[i] = splat(0.0f);
    for (int64_t done = 0; done < vectors; done += STEPS * STATES)
        for (int t = 0; t < STEPS; t++) {
            vec step = splat(steps[t]);
#pragma GCC unroll 8
            for (int i = 0; i < STATES; i++) sum[i] += exp2_of(step * rate[i]);
        }
    float total = 0;
    for (int i = 0; i < STATES; i++) total += sum[i][0];
    return total;
}

// One result per thread. Without a stored result the compiler would remove the loop.
__attribute__((visibility("default"))) __thread float kept;

// Do the work of one thread; `data` points to its number of vectors.
__attribute__((visibility("default"))) void exponentials_of_thread(void *data) {
    kept = exponentials(*(const int64_t *)data);
}

// Compute `vectors` * 9 multiply-adds of LANES floats and return a value that depends on every one of them.
static float multiply_adds(int64_t vectors) {
    enum { CHAINS = 12 };  // more than latency times units of current CPUs
    volatile float factor = 0.5f, summand = 0.25f;
    vec chain[CHAINS], m = splat(factor), c = splat(summand);
    for (int i = 0; i < CHAINS; i++) chain[i] = splat((float)i);
    for (int64_t done = 0; done < 9 * vectors; done += CHAINS)
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) chain[i] = chain[i] * m + c;
    float total = 0;
    for (int i = 0; i < CHAINS; i++) total += chain[i][0];
    return total;
}

// Do the work of one thread; `data` points to its number of vectors.
__attribute__((visibility("default"))) void multiply_adds_of_thread(void *data) {
    kept = multiply_adds(*(const int64_t *)data);
}
