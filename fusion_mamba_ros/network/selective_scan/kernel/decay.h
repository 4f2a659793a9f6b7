// SPDX-License-Identifier: Apache-2.0
// Decay factors exp(delta A). In the free form each state has its own exponential. If the rates of a channel are (n + 1) a,
// every fourth state has its own exponential and the three states after it multiply that by powers of r = exp(delta a).
// A single chain of powers would be faster but multiply the rounding error of r by N. If all rates are a, there is one
// exponential for all states.

// States that share an exponential in the power form.
#define POWER_STATES 4

INLINE int64_t power_groups(const scan_problem *p) { return p->state_size / POWER_STATES; }

// Return the number of vectors of shared factors for each step. Power: r^2, r^3, then the first factor of each group of
// states, which starts with r. Scalar: the factor of all states.
INLINE int64_t shared_factors(const scan_problem *p) {
    return p->decay == SCAN_DECAY_FREE ? 0 : p->decay == SCAN_DECAY_SCALAR ? 1 : 2 + power_groups(p);
}

// Set factors[step * shared_factors] to the shared factors; A_log2 holds the rates of the states times log2(e).
APART void share_factors(vec *factors, const scan_problem *p, const vec *delta, int64_t steps, const vec *A_log2) {
    int64_t stride = shared_factors(p), groups = power_groups(p);
    if (p->decay == SCAN_DECAY_SCALAR) {
        for (int64_t t = 0; t < steps; t++) factors[t] = delta[t] * A_log2[0];
        int64_t t = 0;
        for (; t + 4 <= steps; t += 4) exp2_each(4, 1, factors + t);
        for (; t < steps; t++) exp2_each(1, 1, factors + t);
    } else if (p->decay == SCAN_DECAY_POWER && groups) {
        for (int64_t t = 0; t < steps; t++, factors += stride) {
            vec *first = factors + 2;
            int64_t k = 0;
            for (; k + 4 <= groups; k += 4) {
                for (int i = 0; i < 4; i++) first[k + i] = delta[t] * A_log2[(k + i) * POWER_STATES];
                exp2_each(4, 1, first + k);
            }
            for (; k < groups; k++) first[k] = exp2_of(delta[t] * A_log2[k * POWER_STATES]);
            factors[0] = first[0] * first[0];
            factors[1] = factors[0] * first[0];
        }
    }
}

// Set decay[i] to the factor of state n + i at a step of size dt, for i < count. `shared` holds the shared factors of the
// step. In the power form n and count are multiples of POWER_STATES. `clamp`: as for exp2_each.
INLINE void decays_each(const int count, const int form, const int clamp, vec *decay, vec dt, const vec *shared,
                        const vec *A_log2, int64_t n) {
    if (form == SCAN_DECAY_SCALAR) {
        EACH(decay[i] = shared[0]);
    } else if (form == SCAN_DECAY_POWER) {
        const vec *first = shared + 2 + n / POWER_STATES;
#pragma GCC unroll 2
        for (int k = 0; k < count / POWER_STATES; k++) {
            decay[POWER_STATES * k] = first[k];
            decay[POWER_STATES * k + 1] = first[k] * shared[2];
            decay[POWER_STATES * k + 2] = first[k] * shared[0];
            decay[POWER_STATES * k + 3] = first[k] * shared[1];
        }
    } else {
        EACH(decay[i] = dt * A_log2[n + i]);
        exp2_each(count, clamp, decay);
    }
}

// Return the largest |x| of each lane; NaN counts as less than any number.
INLINE vec largest_magnitude(const vec *x, int64_t count) {
    vec most = splat(0.0f);
    for (int64_t i = 0; i < count; i++) {
        vec now = absolute(x[i]);
        most = choose((ivec)(now > most), now, most);
    }
    return most;
}

// Return whether 2^x needs no clamping in any lane for all numbers up to this magnitude.
INLINE int in_exp2_range(vec magnitude) {
    ivec outside = ~(ivec)(magnitude < splat(EXP2_RANGE));
    int32_t any = 0;
    for (int i = 0; i < LANES; i++) any |= outside[i];
    return !any;
}
