// SPDX-License-Identifier: Apache-2.0
// Vectors of LANES floats, written with the vector extensions of GCC and Clang. Intrinsics cover what those lack.
// Included once for each instruction set; LANES is 4, 8 or 16.
#include <stdint.h>
#include <string.h>
#if LANES > 4
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))
// A hot loop in a function of its own gets all registers.
#define APART static __attribute__((noinline))

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

// Load LANES vectors from LANES addresses and transpose them.
INLINE void load_transposed(vec v[LANES], const float *const at[LANES]) {
#if LANES == 8
    // Halves of two rows share a vector, so that no shuffle crosses the halves: such shuffles are slow on some CPUs.
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
        __m256 r[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            r[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(at[i] + 4 * half)),
                                        _mm_loadu_ps(at[i + 4] + 4 * half), 1);
        __m256 a = _mm256_unpacklo_ps(r[0], r[1]), b = _mm256_unpackhi_ps(r[0], r[1]);
        __m256 c = _mm256_unpacklo_ps(r[2], r[3]), d = _mm256_unpackhi_ps(r[2], r[3]);
        v[4 * half] = (vec)_mm256_shuffle_ps(a, c, 0x44);
        v[4 * half + 1] = (vec)_mm256_shuffle_ps(a, c, 0xee);
        v[4 * half + 2] = (vec)_mm256_shuffle_ps(b, d, 0x44);
        v[4 * half + 3] = (vec)_mm256_shuffle_ps(b, d, 0xee);
    }
#else
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) v[i] = load(at[i]);
    transpose(v);
#endif
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

// The loops over `count` vectors interleave chains of dependent operations, because a CPU with a small scheduler does not
// find their parallelism by itself.
#define EACH(statement) _Pragma("GCC unroll 8") for (int i = 0; i < count; i++) statement

// Set to[i] to the polynomial c[0] x^(terms-1) + ... + c[terms-1] of x[i].
INLINE void polynomial_each(const int count, const int terms, vec *to, const vec *x, const float *c) {
    EACH(to[i] = x[i] * c[0] + c[1]);
#pragma GCC unroll 16
    for (int k = 2; k < terms; k++) EACH(to[i] = to[i] * x[i] + c[k]);
}

// Coefficients of (2^f - 1) / f for |f| <= 1/2, minimax in the relative error of 2^f, 9.1e-8. This form makes 2^0 exactly 1.
static const float exp2_slope[5] = {0x1.5bba14p-10f, 0x1.3cea88p-7f, 0x1.c6b752p-5f, 0x1.ebf9bcp-3f, 0x1.62e42ap-1f};

#define LOG2_E 0x1.715476p+0f
// Largest |x| for which 2^x needs no clamping.
#define EXP2_RANGE 125.0f

// Replace x[0 .. count-1] by 2^x. `clamp` may be 0 if |x| <= EXP2_RANGE.
INLINE void exp2_each(const int count, const int clamp, vec *x) {
    vec n[8], f[8], q[8];
    if (clamp) EACH(x[i] = in_exponent_range(x[i]));
#if LANES == 16
    EACH(n[i] = whole(x[i]));
    EACH(f[i] = x[i] - n[i]);
#else
    // n keeps the added ROUNDER: its low bits are the integer that moves to the exponent.
    EACH(n[i] = x[i] + ROUNDER);
    EACH(f[i] = x[i] - (n[i] - ROUNDER));
#endif
    polynomial_each(count, 5, q, f, exp2_slope);
    EACH(q[i] = q[i] * f[i] + 1.0f);
#if LANES == 16
    EACH(x[i] = scale(q[i], n[i]));
#else
    EACH(x[i] = (vec)((ivec)q[i] + ((ivec)n[i] << 23)));
#endif
}

INLINE vec exp2_of(vec x) {
    exp2_each(1, 1, &x);
    return x;
}

// Return 1 - exp(-x) with a small relative error also for small x. If x = softplus(z), this is the derivative of softplus
// at z.
INLINE vec one_minus_exp_of_minus(vec x) {
    x = in_exponent_range(x * -LOG2_E);
    vec n = whole(x), f = x - n, q;
    vec power = scale(splat(1.0f), n);
    polynomial_each(1, 5, &q, &f, exp2_slope);
    return (1.0f - power) - power * (q * f);
}

// Coefficients of log(1 + z) / z for 0 <= z <= 1, minimax in the relative error, 3.3e-8.
static const float log1p_slope[9] = {0x1.5f9526p-8f,  -0x1.ec976cp-6f, 0x1.446b50p-4f,  -0x1.19ad42p-3f, 0x1.884430p-3f,
                                     -0x1.fd1318p-3f, 0x1.5535d8p-2f,  -0x1.ffff14p-2f, 1.0f};

// Replace x[0 .. count-1] by log(1 + exp(x)) = max(x, 0) + log(1 + z) with z = exp(-|x|). The relative error is about 2e-7.
// A rational function would need fewer terms, but division is slow.
INLINE void softplus_each(const int count, vec *x) {
    vec z[8], q[8];
    EACH(z[i] = absolute(x[i]) * -LOG2_E);
    exp2_each(count, 1, z);
    polynomial_each(count, 9, q, z, log1p_slope);
    EACH(x[i] = choose((ivec)(x[i] < splat(0.0f)), splat(0.0f), x[i]) + z[i] * q[i]);
}
