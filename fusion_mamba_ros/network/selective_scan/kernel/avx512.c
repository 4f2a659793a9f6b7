// SPDX-License-Identifier: Apache-2.0
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")
#endif
#define LANES 16
#include "instruction_set.h"
const scan_instruction_set scan_avx512 = {"avx512", LANES, forward_scratch, backward_scratch, forward, backward};
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
