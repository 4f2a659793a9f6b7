// SPDX-License-Identifier: Apache-2.0
// SSE2 on x86-64, NEON on aarch64. On other machines the compiler chooses the instructions for 16-byte vectors.
#define LANES 4
#include "instruction_set.h"
const scan_instruction_set scan_baseline = {"baseline", LANES, forward_scratch, backward_scratch, forward, backward};
