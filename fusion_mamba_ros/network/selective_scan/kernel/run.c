// SPDX-License-Identifier: Apache-2.0
// Chooses the instruction set, splits a scan into tasks and runs the tasks on threads.
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "scan.h"

#define EXPORT __attribute__((visibility("default")))

extern const scan_instruction_set scan_baseline;
#if defined(__x86_64__)
extern const scan_instruction_set scan_avx2, scan_avx512;
#endif

static const scan_instruction_set *supported(const char *name) {
    const scan_instruction_set *found[3];
    int count = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
        found[count++] = &scan_avx512;
    if (avx2) found[count++] = &scan_avx2;
#endif
    found[count++] = &scan_baseline;
    if (!name || !*name) return found[0];
    for (int i = 0; i < count; i++)
        if (!strcmp(found[i]->name, name)) return found[i];
    return 0;
}

// Return the instruction set that the kernel uses: the best one if `name` is null, otherwise `name`, or null if this CPU
// does not support `name`.
EXPORT const char *fusion_mamba_scan_instruction_set(const char *name) {
    const scan_instruction_set *set = supported(name);
    return set ? set->name : 0;
}

// Treat denormal numbers as zero while a task runs: decaying states become denormal, and denormals are slow.
#if defined(__x86_64__)
typedef unsigned float_mode;
static float_mode flush_denormals(void) {
    float_mode old = _mm_getcsr();
    _mm_setcsr(old | 0x8040);
    return old;
}
static void restore_float_mode(float_mode old) { _mm_setcsr(old); }
#elif defined(__aarch64__)
typedef uint64_t float_mode;
static float_mode flush_denormals(void) {
    float_mode old;
    __asm__ volatile("mrs %0, fpcr" : "=r"(old));
    __asm__ volatile("msr fpcr, %0" : : "r"(old | (1u << 24)));
    return old;
}
static void restore_float_mode(float_mode old) { __asm__ volatile("msr fpcr, %0" : : "r"(old)); }
#else
typedef int float_mode;
static float_mode flush_denormals(void) { return 0; }
static void restore_float_mode(float_mode old) { (void)old; }
#endif

typedef struct {
    const scan_problem *problem;
    const scan_instruction_set *set;
    int backward;
    int64_t group_blocks, parts, tasks, most_blocks;
    int64_t next;
    int out_of_memory;
} job;

static void work(void *data) {
    job *j = data;
    const scan_problem *p = j->problem;
    int64_t bytes = (j->backward ? j->set->backward_scratch : j->set->forward_scratch)(p, j->most_blocks);
    void *scratch;
    if (posix_memalign(&scratch, 64, (size_t)bytes)) {
        __atomic_store_n(&j->out_of_memory, 1, __ATOMIC_RELAXED);
        return;
    }
    float_mode mode = flush_denormals();
    for (;;) {
        int64_t index = __atomic_fetch_add(&j->next, 1, __ATOMIC_RELAXED);
        if (index >= j->tasks) break;
        scan_task task;
        task.part = index % j->parts;
        task.group = index / j->parts % p->groups;
        task.batch = index / j->parts / p->groups;
        task.first_block = j->group_blocks * task.part / j->parts;
        task.blocks = j->group_blocks * (task.part + 1) / j->parts - task.first_block;
        (j->backward ? j->set->backward : j->set->forward)(p, &task, scratch);
    }
    restore_float_mode(mode);
    free(scratch);
}

typedef struct {
    void (*body)(void *);
    void *data;
} call;

static void *run_call(void *data) {
    call *c = data;
    c->body(c->data);
    return 0;
}

// Run body on new threads, for processes without an OpenMP thread pool. The threads are joined before the call returns, so
// that a later fork is safe.
static void own_threads(void (*body)(void *), void *data, unsigned threads, unsigned flags) {
    (void)flags;
    pthread_t others[64];
    call c = {body, data};
    unsigned started = 0;
    while (started + 1 < threads && started < 64 && !pthread_create(&others[started], 0, run_call, &c)) started++;
    body(data);
    while (started) pthread_join(others[--started], 0);
}

// Use one more thread only for so many (channel, step, state) elements: with fewer, waking the thread costs more time than
// it saves.
#if !defined(ELEMENTS_PER_THREAD)
#define ELEMENTS_PER_THREAD (1 << 18)
#endif

static int64_t at_least_one(int64_t x) { return x < 1 ? 1 : x; }

static int run(const scan_problem *p, int backward, const char *instruction_set, int threads, scan_parallel parallel) {
    job j = {.problem = p, .set = supported(instruction_set), .backward = backward};
    if (!j.set || p->groups < 1 || p->channels % p->groups || p->directions < 1 || p->directions > 4 || threads < 1)
        return SCAN_BAD_ARGUMENT;
    if (p->batch * p->channels * p->height * p->width * p->state_size == 0) return SCAN_OK;
    int64_t elements = p->batch * p->directions * p->channels * p->height * p->width * p->state_size;
    int64_t useful = at_least_one(elements / ELEMENTS_PER_THREAD);
    if (threads > useful) threads = (int)useful;
    j.group_blocks = (p->channels / p->groups + j.set->lanes - 1) / j.set->lanes;
    if (backward) {
        // The caller sets the parts, because sums over the channels must not depend on the number of threads.
        j.parts = p->parts;
    } else {
        // Enough tasks to balance the threads, but not more: the blocks of one task share the transposed B and C.
        j.parts = at_least_one(4 * threads / (p->batch * p->groups));
        if (threads == 1) j.parts = 1;
        if (j.group_blocks / j.parts > 8) j.parts = (j.group_blocks + 7) / 8;
    }
    if (!backward && j.parts > j.group_blocks) j.parts = j.group_blocks;
    if (j.parts < 1 || j.parts > j.group_blocks) return SCAN_BAD_ARGUMENT;
    j.tasks = p->batch * p->groups * j.parts;
    j.most_blocks = (j.group_blocks + j.parts - 1) / j.parts;
    if (threads > j.tasks) threads = (int)j.tasks;
    if (threads == 1)
        work(&j);
    else
        (parallel ? parallel : own_threads)(work, &j, (unsigned)threads, 0);
    return j.out_of_memory && j.next < j.tasks ? SCAN_NO_MEMORY : SCAN_OK;
}

EXPORT int fusion_mamba_scan_forward(const scan_problem *p, const char *instruction_set, int threads,
                                     scan_parallel parallel) {
    return run(p, 0, instruction_set, threads, parallel);
}

EXPORT int fusion_mamba_scan_backward(const scan_problem *p, const char *instruction_set, int threads,
                                      scan_parallel parallel) {
    return run(p, 1, instruction_set, threads, parallel);
}

// Constants that the caller must share: cpu.py compares them when it loads the library.
EXPORT const int64_t fusion_mamba_scan_interface[3] = {SCAN_CHUNK_STEPS, SCAN_PANEL_COLUMNS, sizeof(scan_problem)};
