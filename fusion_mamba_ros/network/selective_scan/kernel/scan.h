// SPDX-License-Identifier: Apache-2.0
// The selective scan of maps in plain C. All arrays are dense float32, row-major, never null unless said.
#ifndef FUSION_MAMBA_SCAN_H
#define FUSION_MAMBA_SCAN_H

#include <stdint.h>

// Steps between two saved states. The states hold h at the first step of each chunk, counted inside its panel.
#if !defined(SCAN_CHUNK_STEPS)
#define SCAN_CHUNK_STEPS 192
#endif
// Columns that a column walk reads at once: one cache line of a row.
#define SCAN_PANEL_COLUMNS 16

typedef struct {
    int64_t batch, directions, channels, groups, state_size, height, width;
    int64_t chunks;  // chunks per direction that `states` has room for
    int64_t parts;   // backward: into how many parts the channels of one group are split
    int64_t softplus;
    const float *u;           // (batch, channels, height, width)
    const float *delta;       // (batch, directions, channels, height, width)
    const float *A;           // (directions, channels, state_size)
    const float *B;           // (batch, directions, groups, state_size, height, width)
    const float *C;           // as B
    const float *D;           // (directions, channels) or null
    const float *delta_bias;  // (directions, channels) or null
    float *y;                 // forward: as u
    float *states;            // (batch, directions, chunks, state_size, channels); forward: or null
    const float *grad_y;      // backward: as u
    float *grad_u, *grad_delta;
    float *grad_A;                  // (batch, directions, channels, state_size): the caller adds up the batch
    float *grad_B, *grad_C;         // as B: the sums over the first part of the channels
    float *more_grad_B, *more_grad_C;  // (parts - 1, ...) as B: those over the others, for the caller to add
    float *grad_D, *grad_bias;      // (batch, directions, channels): the caller adds up the batch
} scan_problem;

// What one thread does at a time: some of the channels of one group, in all directions.
typedef struct {
    int64_t batch, group, part;
    int64_t first_block, blocks;  // blocks of `lanes` channels, counted inside the group
} scan_task;

typedef struct {
    const char *name;
    int64_t lanes;
    // Bytes that a task over so many blocks needs, aligned to 64.
    int64_t (*forward_scratch)(const scan_problem *, int64_t blocks);
    int64_t (*backward_scratch)(const scan_problem *, int64_t blocks);
    void (*forward)(const scan_problem *, const scan_task *, void *scratch);
    void (*backward)(const scan_problem *, const scan_task *, void *scratch);
} scan_instruction_set;

// Runs body(data) on `threads` threads at once and returns when all are done: the signature of GOMP_parallel.
typedef void (*scan_parallel)(void (*body)(void *), void *data, unsigned threads, unsigned flags);

enum { SCAN_OK = 0, SCAN_NO_MEMORY = 1, SCAN_BAD_ARGUMENT = 2 };

#endif
