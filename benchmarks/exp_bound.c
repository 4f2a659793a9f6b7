// SPDX-License-Identifier: Apache-2.0
// Lower bound to which benchmarks/scan.py compares the kernel: the kernel's vectorised exp on as many (channel, step, state)
// elements as a scan has, with all data in the L1 cache, and nothing else.
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
