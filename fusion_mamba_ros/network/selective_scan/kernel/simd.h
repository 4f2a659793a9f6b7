// SPDX-License-Identifier: Apache-2.0
// Vectors of LANES floats, written with the vector extensions of GCC and Clang. Intrinsics cover what those lack.
// Included once for each instruction set; LANES is 4, 8 or 16.
#include <stdint.h>
#include <string.h>
#if LANES > 4
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(LANES * 4), aligned(LANES * 4), may_alias));
typedef float vec_unaligned __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(LANES * 4), aligned(LANES * 4), may_alias));

INLINE vec load(const float *p) { return *(const vec_unaligned *)p; }
INLINE void store(float *p, vec v) { *(vec_unaligned *)p = v; }
INLINE vec splat(float x) { return x - (vec){0}; }

// Load the first n lanes from p and set the others to zero.
INLINE vec load_part(const float *p, int64_t n) {
    if (n >= LANES) return load(p);
#if LANES == 16
    return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#else
    vec v = {0};
    for (int64_t i = 0; i < n; i++) v[i] = p[i];
    return v;
#endif
}

INLINE void store_part(float *p, vec v, int64_t n) {
    if (n >= LANES) { store(p, v); return; }
#if LANES == 16
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#else
    for (int64_t i = 0; i < n; i++) p[i] = v[i];
#endif
}

#if defined(__clang__)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (ivec){__VA_ARGS__})
#endif

// Interleave a and b as a0 b0 a1 b1 ...: ZIP_LOW takes their lower halves, ZIP_HIGH their upper halves.
#if LANES == 4
#define ZIP_LOW(a, b) SHUFFLE(a, b, 0, 4, 1, 5)
#define ZIP_HIGH(a, b) SHUFFLE(a, b, 2, 6, 3, 7)
#elif LANES == 8
#define ZIP_LOW(a, b) SHUFFLE(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define ZIP_HIGH(a, b) SHUFFLE(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#else
#define ZIP_LOW(a, b) SHUFFLE(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define ZIP_HIGH(a, b) SHUFFLE(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#endif

// Transpose a LANES x LANES tile with one perfect shuffle of the rows for each bit of the index.
INLINE void transpose(vec v[LANES]) {
#pragma GCC unroll 4
    for (int bit = 1; bit < LANES; bit *= 2) {
        vec w[LANES];
#pragma GCC unroll 8
        for (int i = 0; i < LANES / 2; i++) {
            w[2 * i] = ZIP_LOW(v[i], v[i + LANES / 2]);
            w[2 * i + 1] = ZIP_HIGH(v[i], v[i + LANES / 2]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) v[i] = w[i];
    }
}

// Return a vector whose lane i is the sum of all lanes of v[i * stride].
INLINE vec sum_lanes(const vec *v, int64_t stride) {
    vec s[LANES];
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) s[i] = v[i * stride];
#pragma GCC unroll 4
    for (int half = LANES / 2; half >= 1; half /= 2) {
#pragma GCC unroll 8
        for (int i = 0; i < half; i++) s[i] = ZIP_LOW(s[i], s[i + half]) + ZIP_HIGH(s[i], s[i + half]);
    }
    return s[0];
}

INLINE vec choose(ivec mask, vec yes, vec no) { return (vec)((mask & (ivec)yes) | (~mask & (ivec)no)); }
INLINE vec absolute(vec x) { return (vec)((ivec)x & 0x7fffffff); }

// whole(x) rounds x to the nearest integer n, so that |x - n| <= 1/2. scale(p, n) returns p 2^n. NaN stays NaN.
#if LANES == 16
INLINE vec whole(vec x) { return (vec)_mm512_roundscale_ps((__m512)x, 8); }
INLINE vec scale(vec p, vec n) { return (vec)_mm512_scalef_ps((__m512)p, (__m512)n); }
INLINE vec in_exponent_range(vec x) { return x; }
#else
// Adding 1.5 2^23 moves the integer part to the low bits of the sum.
#define ROUNDER 12582912.0f
INLINE vec whole(vec x) { return (x + ROUNDER) - ROUNDER; }
INLINE vec scale(vec p, vec n) { return (vec)((ivec)p + (((ivec)(n + ROUNDER)) << 23)); }
#if LANES == 8
INLINE vec in_exponent_range(vec x) {
    return (vec)_mm256_min_ps(_mm256_set1_ps(127.4f), _mm256_max_ps(_mm256_set1_ps(-126.0f), (__m256)x));
}
#else
INLINE vec in_exponent_range(vec x) {
    x = choose((ivec)(x < splat(-126.0f)), splat(-126.0f), x);
    return choose((ivec)(x > splat(127.4f)), splat(127.4f), x);
}
#endif
#endif

// Return (2^f - 1) / f for |f| <= 1/2. The polynomial is minimax in the relative error of 2^f, 9.1e-8. This form makes 2^0
// exactly 1.
INLINE vec exp2_slope(vec f) {
    vec q = splat(0x1.5bba14p-10f);
    q = q * f + 0x1.3cea88p-7f;
    q = q * f + 0x1.c6b752p-5f;
    q = q * f + 0x1.ebf9bcp-3f;
    return q * f + 0x1.62e42ap-1f;
}

#define LOG2_E 0x1.715476p+0f

INLINE vec exp2_of(vec x) {
    x = in_exponent_range(x);
    vec n = whole(x), f = x - n;
    return scale(exp2_slope(f) * f + 1.0f, n);
}

// Return 1 - exp(-x) with a small relative error also for small x. If x = softplus(z), this is the derivative of softplus
// at z.
INLINE vec one_minus_exp_of_minus(vec x) {
    x = in_exponent_range(x * -LOG2_E);
    vec n = whole(x), f = x - n;
    vec power = scale(splat(1.0f), n);
    return (1.0f - power) - power * (exp2_slope(f) * f);
}

// Return log(1 + exp(x)) = max(x, 0) + 2 atanh(z / (2 + z)) with z = exp(-|x|). The relative error is about 1e-7.
INLINE vec softplus_of(vec x) {
    vec z = exp2_of(absolute(x) * -LOG2_E);
    vec s = z / (z + 2.0f), w = s * s;
    vec r = splat(0.1401223f);
    r = r * w + 0.1399957f;
    r = r * w + 0.2001085f;
    r = r * w + 0.33333207f;
    vec positive = choose((ivec)(x < splat(0.0f)), splat(0.0f), x);
    return positive + (s + s) * (w * r + 1.0f);
}
