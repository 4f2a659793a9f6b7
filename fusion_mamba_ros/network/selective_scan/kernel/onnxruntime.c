// SPDX-License-Identifier: Apache-2.0
// `fusion_mamba::selective_scan_2d` as a custom operator of ONNX Runtime, on the threads of its pool.
//
// Inputs, all float32 with the shapes of the Python function of this name: u, delta, A, B, C, and optionally D and
// delta_bias. Attribute delta_softplus: 0 or 1. Output: y.
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnxruntime_abi.h"
#include "scan.h"

#define EXPORT __attribute__((visibility("default")))
#define DIRECTIONS 4
#define MOST_DIMENSIONS 5
#define MOST_THREADS 1024

int fusion_mamba_scan_forward(const scan_problem *p, const char *instruction_set, int threads, scan_parallel parallel);

enum { INPUT_U, INPUT_DELTA, INPUT_A, INPUT_B, INPUT_C, INPUT_D, INPUT_BIAS, INPUTS };
static const char *const input_names[INPUTS] = {"u", "delta", "A", "B", "C", "D", "delta_bias"};

// The description must be the first field: ONNX Runtime hands it back to every callback.
typedef struct scan_operator {
    OrtOperator description;
    const OrtApi *api;
    int threads;
    OrtOperatorDomain *domain;
    struct scan_operator *next;
} scan_operator;

typedef struct {
    const OrtApi *api;
    int64_t softplus;
    int threads;
} scan_kernel;

typedef struct {
    size_t rank;
    int64_t size[MOST_DIMENSIONS];
    const float *data;  // null: the optional input is absent
} tensor;

// The kernel's parallel function has no argument for the context of the call, so the calling thread remembers it.
typedef struct {
    const scan_kernel *kernel;
    const OrtKernelContext *context;
    OrtStatus *failure;
    void (*body)(void *);
    void *data;
} parallel_call;
static _Thread_local parallel_call current;

static void run_body(void *data, size_t index) {
    (void)index;
    const parallel_call *call = data;
    call->body(call->data);
}

static void on_pool(void (*body)(void *), void *data, unsigned threads, unsigned flags) {
    (void)flags;
    current.body = body;
    current.data = data;
    // Every call of the body takes tasks until none is left, so any number of calls that the pool makes is correct.
    current.failure = current.kernel->api->parallel_for(current.context, run_body, threads, 0, &current);
}

static OrtStatus *read_tensor(const OrtApi *api, const OrtKernelContext *context, size_t index, tensor *t) {
    const OrtValue *value = 0;
    OrtShapeInfo *info = 0;
    void *data = 0;
    *t = (tensor){0};
    OrtStatus *failure = api->input(context, index, &value);
    if (failure || !value) return failure;
    if ((failure = api->tensor_shape(value, &info))) return failure;
    failure = api->dimension_count(info, &t->rank);
    if (!failure && t->rank <= MOST_DIMENSIONS) failure = api->dimensions(info, t->size, t->rank);
    api->release_shape_info(info);
    if (!failure) failure = api->tensor_data((OrtValue *)value, &data);
    t->data = data;
    return failure;
}

static int has_shape(const tensor *t, size_t rank, const int64_t *size) {
    if (t->rank != rank) return 0;
    for (size_t i = 0; i < rank; i++)
        if (t->size[i] != size[i]) return 0;
    return 1;
}

static OrtStatus *check_shapes(const OrtApi *api, const tensor in[INPUTS]) {
    char message[200];
    if (in[INPUT_U].rank != 4 || in[INPUT_A].rank != 3)
        return api->create_status(ORT_INVALID_ARGUMENT,
                                  "selective_scan_2d: u must be (B, D, H, W) and A must be (4, D, N)");
    const int64_t *u = in[INPUT_U].size, N = in[INPUT_A].size[2];
    const struct {
        size_t rank;
        int64_t size[MOST_DIMENSIONS];
    } expected[INPUTS] = {
        {4, {u[0], u[1], u[2], u[3]}},
        {5, {u[0], DIRECTIONS, u[1], u[2], u[3]}},
        {3, {DIRECTIONS, u[1], N}},
        {5, {u[0], DIRECTIONS, N, u[2], u[3]}},
        {5, {u[0], DIRECTIONS, N, u[2], u[3]}},
        {2, {DIRECTIONS, u[1]}},
        {2, {DIRECTIONS, u[1]}},
    };
    for (int i = 0; i < INPUTS; i++) {
        int absent = i >= INPUT_D && !in[i].data && !in[i].rank;
        if (absent || has_shape(&in[i], expected[i].rank, expected[i].size)) continue;
        snprintf(message, sizeof message,
                 "selective_scan_2d: the shape of input '%s' does not fit u (%lld, %lld, %lld, %lld) and state size %lld",
                 input_names[i], (long long)u[0], (long long)u[1], (long long)u[2], (long long)u[3], (long long)N);
        return api->create_status(ORT_INVALID_ARGUMENT, message);
    }
    if (N < 1) return api->create_status(ORT_INVALID_ARGUMENT, "selective_scan_2d: A has state size 0");
    return 0;
}

static OrtStatus *compute(void *data, OrtKernelContext *context) {
    const scan_kernel *kernel = data;
    const OrtApi *api = kernel->api;
    tensor in[INPUTS] = {{0}};
    size_t count = 0;
    OrtStatus *failure = api->input_count(context, &count);
    for (size_t i = 0; !failure && i < count && i < INPUTS; i++) failure = read_tensor(api, context, i, &in[i]);
    if (!failure) failure = check_shapes(api, in);
    if (failure) return failure;

    const int64_t *u = in[INPUT_U].size;
    OrtValue *value = 0;
    void *y = 0;
    if ((failure = api->output(context, 0, u, 4, &value))) return failure;
    if ((failure = api->tensor_data(value, &y))) return failure;
    scan_problem problem = {
        .batch = u[0], .directions = DIRECTIONS, .channels = u[1], .groups = 1, .state_size = in[INPUT_A].size[2],
        .height = u[2], .width = u[3], .parts = 1, .softplus = kernel->softplus,
        .u = in[INPUT_U].data, .delta = in[INPUT_DELTA].data, .A = in[INPUT_A].data, .B = in[INPUT_B].data,
        .C = in[INPUT_C].data, .D = in[INPUT_D].data, .delta_bias = in[INPUT_BIAS].data, .y = y,
    };
    current = (parallel_call){.kernel = kernel, .context = context};
    int code = fusion_mamba_scan_forward(&problem, 0, kernel->threads, on_pool);
    if (current.failure) return current.failure;
    if (code == SCAN_NO_MEMORY)
        return api->create_status(ORT_FAILED, "selective_scan_2d: not enough memory for the scratch buffer of one thread");
    if (code != SCAN_OK) return api->create_status(ORT_FAILED, "selective_scan_2d: the kernel rejected its arguments");
    return 0;
}

static OrtStatus *create_kernel(const OrtOperator *op, const OrtApi *api, const OrtKernelInfo *info, void **kernel) {
    scan_kernel *k = malloc(sizeof *k);
    if (!k) return api->create_status(ORT_FAILED, "selective_scan_2d: out of memory");
    *k = (scan_kernel){.api = api, .threads = ((const scan_operator *)op)->threads};
    OrtStatus *failure = api->integer_attribute(info, "delta_softplus", &k->softplus);
    if (failure) free(k);
    else *kernel = k;
    return failure;
}

// The output has the shape of u. Infer nothing if a dimension is not known: its placeholder -1 would be taken for a size.
static OrtStatus *infer_shapes(const OrtOperator *op, OrtInferenceContext *context) {
    const OrtApi *api = ((const scan_operator *)op)->api;
    OrtShapeInfo *info = 0;  // belongs to the context
    size_t rank = 0;
    int64_t size[4];
    OrtStatus *failure = api->inferred_input(context, INPUT_U, &info);
    if (!failure) failure = api->dimension_count(info, &rank);
    if (failure || rank != 4) return failure;
    if ((failure = api->dimensions(info, size, rank))) return failure;
    for (size_t i = 0; i < rank; i++)
        if (size[i] < 0) return 0;
    return api->infer_output(context, 0, info);
}

static const char *name(const OrtOperator *op) { (void)op; return "selective_scan_2d"; }
static const char *execution_provider(const OrtOperator *op) { (void)op; return "CPUExecutionProvider"; }
static int element_type(const OrtOperator *op, size_t index) { (void)op, (void)index; return ORT_FLOAT32; }
static size_t input_count(const OrtOperator *op) { (void)op; return INPUTS; }
static size_t output_count(const OrtOperator *op) { (void)op; return 1; }
static int input_characteristic(const OrtOperator *op, size_t index) {
    (void)op;
    return index >= INPUT_D ? ORT_OPTIONAL : ORT_REQUIRED;
}
static int output_characteristic(const OrtOperator *op, size_t index) { (void)op, (void)index; return ORT_REQUIRED; }
static int input_memory(const OrtOperator *op, size_t index) { (void)op, (void)index; return ORT_MEMORY_DEFAULT; }
static int first_opset(const OrtOperator *op) { (void)op; return 1; }
static int last_opset(const OrtOperator *op) { (void)op; return INT32_MAX; }

static const OrtOperator description = {
    .version = ORT_ABI_VERSION,
    .name = name,
    .execution_provider = execution_provider,
    .input_type = element_type,
    .input_count = input_count,
    .output_type = element_type,
    .output_count = output_count,
    .destroy_kernel = free,
    .input_characteristic = input_characteristic,
    .output_characteristic = output_characteristic,
    .input_memory = input_memory,
    .create_kernel = create_kernel,
    .compute = compute,
    .infer_shapes = infer_shapes,
    .first_opset = first_opset,
    .last_opset = last_opset,
};

// Return the number of CPUs that this process may use.
static int available_cpus(void) {
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
    return count < 1 ? 1 : count;
}

// Read the number of threads from the session options; without that entry, use all CPUs. ONNX Runtime does not tell an
// operator how many threads its pool has. A number that differs from it costs time, but never changes a result.
static OrtStatus *read_threads(const OrtApi *api, const OrtSessionOptions *options, int *threads) {
    static const char key[] = "fusion_mamba.scan_threads";
    char text[16] = "";
    size_t bytes = sizeof text;
    int found = 0;
    *threads = available_cpus();
    OrtStatus *failure = api->has_session_entry(options, key, &found);
    if (failure || !found) return failure;
    if ((failure = api->session_entry(options, key, text, &bytes))) return failure;
    long value = strtol(text, 0, 10);
    if (value < 1 || value > MOST_THREADS)
        return api->create_status(ORT_INVALID_ARGUMENT, "fusion_mamba.scan_threads: expected a number from 1 to 1024");
    *threads = (int)value;
    return 0;
}

static OrtStatus *create_operator(const OrtApi *api, int threads, scan_operator **created) {
    scan_operator *op = malloc(sizeof *op);
    if (!op) return api->create_status(ORT_FAILED, "fusion_mamba: out of memory");
    *op = (scan_operator){.description = description, .api = api, .threads = threads};
    OrtStatus *failure = api->create_domain("fusion_mamba", &op->domain);
    if (!failure && (failure = api->add_operator(op->domain, &op->description))) api->release_domain(op->domain);
    if (failure) free(op);
    else *created = op;
    return failure;
}

// ONNX Runtime calls this function for the options of each session that uses the library.
EXPORT OrtStatus *RegisterCustomOps(OrtSessionOptions *options, const OrtApiBase *base) {
    // A session uses its operator until it ends, which this library does not see. So there is one operator for each number
    // of threads, and all sessions share it.
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static scan_operator *operators;
    const OrtApi *api = base->get_api(ORT_ABI_VERSION);
    if (!api) {
        const OrtApi *oldest = base->get_api(1);  // create_status is in every version
        return oldest ? oldest->create_status(ORT_FAILED, "fusion_mamba needs ONNX Runtime 1.17 or newer") : 0;
    }
    int threads;
    OrtStatus *failure = read_threads(api, options, &threads);
    if (failure) return failure;
    pthread_mutex_lock(&lock);
    scan_operator *op = operators;
    while (op && op->threads != threads) op = op->next;
    if (!op && !(failure = create_operator(api, threads, &op))) {
        op->next = operators;
        operators = op;
    }
    pthread_mutex_unlock(&lock);
    return failure ? failure : api->add_domain(options, op->domain);
}
