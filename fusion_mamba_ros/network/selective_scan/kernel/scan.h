// SPDX-License-Identifier: Apache-2.0
// Selective scan of maps in C. All arrays are contiguous row-major float32. No array may be null unless its comment says so.
#ifndef FUSION_MAMBA_SCAN_H
#define FUSION_MAMBA_SCAN_H

#include <stdint.h>

// Steps of a chunk. `states` holds h at the first step of each chunk; chunks are counted from the start of their panel.
#if !defined(SCAN_CHUNK_STEPS)
#define SCAN_CHUNK_STEPS 192
#endif
// Columns that a column walk processes together: one cache line of a row.
#define SCAN_PANEL_COLUMNS 16

// Form of the decay rates: `A` holds all rates of a channel, or one rate a of which state n takes (n + 1) a or a itself.
enum { SCAN_DECAY_FREE = 0, SCAN_DECAY_POWER = 1, SCAN_DECAY_SCALAR = 2 };

typedef struct {
    int64_t batch, directions, channels, groups, state_size, height, width;
    int64_t chunks;  // chunks per direction that `states` has room for
    int64_t parts;   // backward: number of parts into which the channels of one group are split
    int64_t softplus;
    int64_t decay;   // one of SCAN_DECAY_...
    const float *u;           // (batch, channels, height, width)
    const float *delta;       // (batch, directions, channels, height, width)
    const float *A;           // (directions, channels, rates); rates is state_size if `decay` is free, else 1
    const float *B;           // (batch, directions, groups, state_size, height, width)
    const float *C;           // as B
    const float *D;           // (directions, channels) or null
    const float *delta_bias;  // (directions, channels) or null
    float *y;                 // forward: as u
    float *states;            // (batch, directions, chunks, state_size, channels); forward: null to keep none
    const float *grad_y;      // backward: as u
    float *grad_u, *grad_delta;
    float *grad_A;                  // (batch, directions, channels, rates): the caller sums over the batch
    float *grad_B, *grad_C;         // as B: sums over the first part of the channels
    float *more_grad_B, *more_grad_C;  // (parts - 1, ...) as B: sums over the other parts; the caller adds them
    float *grad_D, *grad_bias;      // (batch, directions, channels): the caller sums over the batch
} scan_problem;

// The unit of work of one thread: some channels of one group, in all directions.
typedef struct {
    int64_t batch, group, part;
    int64_t first_block, blocks;  // blocks of `lanes` channels, counted inside the group
} scan_task;

typedef struct {
    const char *name;
    int64_t lanes;
    // Return the bytes of scratch memory for a task of so many blocks. The memory must be aligned to 64 bytes.
    int64_t (*forward_scratch)(const scan_problem *, int64_t blocks);
    int64_t (*backward_scratch)(const scan_problem *, int64_t blocks);
    void (*forward)(const scan_problem *, const scan_task *, void *scratch);
    void (*backward)(const scan_problem *, const scan_task *, void *scratch);
} scan_instruction_set;

// Runs body(data) on `threads` threads and returns when all have finished. Has the signature of GOMP_parallel.
typedef void (*scan_parallel)(void (*body)(void *), void *data, unsigned threads, unsigned flags);

enum { SCAN_OK = 0, SCAN_NO_MEMORY = 1, SCAN_BAD_ARGUMENT = 2 };

#endif
