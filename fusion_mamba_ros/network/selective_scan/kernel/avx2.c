// SPDX-License-Identifier: Apache-2.0
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define LANES 8
#include "instruction_set.h"
const scan_instruction_set scan_avx2 = {"avx2", LANES, forward_scratch, backward_scratch, forward, backward};
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
