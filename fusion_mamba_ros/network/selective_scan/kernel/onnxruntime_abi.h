// SPDX-License-Identifier: Apache-2.0
// The part of ONNX Runtime's C interface that a custom operator needs, so that no package of ONNX Runtime is needed to build.
// ONNX Runtime passes tables of function pointers. Their order never changes: a new version only appends entries. Entries
// that this package does not call are unused_ arrays, and the assertions below state the position of every entry.
#ifndef FUSION_MAMBA_ONNXRUNTIME_ABI_H
#define FUSION_MAMBA_ONNXRUNTIME_ABI_H

#include <stddef.h>
#include <stdint.h>

// The first version that has all entries below: ONNX Runtime 1.17.
#define ORT_ABI_VERSION 17

typedef struct OrtStatus OrtStatus;  // null: success
typedef struct OrtValue OrtValue;
typedef struct OrtShapeInfo OrtShapeInfo;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtOperatorDomain OrtOperatorDomain;
typedef struct OrtKernelInfo OrtKernelInfo;
typedef struct OrtKernelContext OrtKernelContext;
typedef struct OrtInferenceContext OrtInferenceContext;
typedef struct OrtOperator OrtOperator;

enum { ORT_FAILED = 1, ORT_INVALID_ARGUMENT = 2 };
enum { ORT_FLOAT32 = 1 };
enum { ORT_REQUIRED = 0, ORT_OPTIONAL = 1 };
enum { ORT_MEMORY_DEFAULT = 0 };

typedef struct {
    OrtStatus *(*create_status)(int code, const char *message);
    void *unused_1[25];
    OrtStatus *(*create_domain)(const char *name, OrtOperatorDomain **domain);
    OrtStatus *(*add_operator)(OrtOperatorDomain *domain, const OrtOperator *operator);
    OrtStatus *(*add_domain)(OrtSessionOptions *options, OrtOperatorDomain *domain);
    void *unused_29[22];
    OrtStatus *(*tensor_data)(OrtValue *value, void **data);
    void *unused_52[9];
    OrtStatus *(*dimension_count)(const OrtShapeInfo *info, size_t *count);
    OrtStatus *(*dimensions)(const OrtShapeInfo *info, int64_t *values, size_t count);
    void *unused_63[2];
    OrtStatus *(*tensor_shape)(const OrtValue *value, OrtShapeInfo **info);
    void *unused_66[20];
    OrtStatus *(*integer_attribute)(const OrtKernelInfo *info, const char *name, int64_t *value);
    void *unused_87[1];
    OrtStatus *(*input_count)(const OrtKernelContext *context, size_t *count);
    void *unused_89[1];
    OrtStatus *(*input)(const OrtKernelContext *context, size_t index, const OrtValue **value);
    OrtStatus *(*output)(OrtKernelContext *context, size_t index, const int64_t *dimensions, size_t count, OrtValue **value);
    void *unused_92[7];
    void (*release_shape_info)(OrtShapeInfo *info);
    void *unused_100[1];
    void (*release_domain)(OrtOperatorDomain *domain);
    void *unused_102[135];
    OrtStatus *(*has_session_entry)(const OrtSessionOptions *options, const char *key, int *found);
    OrtStatus *(*session_entry)(const OrtSessionOptions *options, const char *key, char *value, size_t *bytes);
    void *unused_239[29];
    OrtStatus *(*inferred_input)(const OrtInferenceContext *context, size_t index, OrtShapeInfo **info);
    void *unused_269[1];
    OrtStatus *(*infer_output)(const OrtInferenceContext *context, size_t index, const OrtShapeInfo *info);
    void *unused_271[3];
    OrtStatus *(*parallel_for)(const OrtKernelContext *context, void (*body)(void *, size_t), size_t total, size_t batches,
                               void *data);
} OrtApi;

#define ORT_ENTRY(name, position) \
    _Static_assert(offsetof(OrtApi, name) == (position) * sizeof(void *), #name " is entry " #position)
ORT_ENTRY(create_status, 0);         // CreateStatus
ORT_ENTRY(create_domain, 26);        // CreateCustomOpDomain
ORT_ENTRY(add_operator, 27);         // CustomOpDomain_Add
ORT_ENTRY(add_domain, 28);           // AddCustomOpDomain
ORT_ENTRY(tensor_data, 51);          // GetTensorMutableData
ORT_ENTRY(dimension_count, 61);      // GetDimensionsCount
ORT_ENTRY(dimensions, 62);           // GetDimensions
ORT_ENTRY(tensor_shape, 65);         // GetTensorTypeAndShape
ORT_ENTRY(integer_attribute, 86);    // KernelInfoGetAttribute_int64
ORT_ENTRY(input_count, 88);          // KernelContext_GetInputCount
ORT_ENTRY(input, 90);                // KernelContext_GetInput
ORT_ENTRY(output, 91);               // KernelContext_GetOutput
ORT_ENTRY(release_shape_info, 99);   // ReleaseTensorTypeAndShapeInfo
ORT_ENTRY(release_domain, 101);      // ReleaseCustomOpDomain
ORT_ENTRY(has_session_entry, 237);   // HasSessionConfigEntry
ORT_ENTRY(session_entry, 238);       // GetSessionConfigEntry
ORT_ENTRY(inferred_input, 268);      // ShapeInferContext_GetInputTypeShape
ORT_ENTRY(infer_output, 270);        // ShapeInferContext_SetOutputTypeShape
ORT_ENTRY(parallel_for, 274);        // KernelContext_ParallelFor
#undef ORT_ENTRY

typedef struct {
    const OrtApi *(*get_api)(uint32_t version);  // null if the runtime is older than `version`
    const char *(*version_text)(void);
} OrtApiBase;

// The description of an operator. ONNX Runtime keeps the pointer as long as a session uses the operator.
struct OrtOperator {
    uint32_t version;
    void *unused_1;  // creates a kernel; create_kernel replaced it
    const char *(*name)(const OrtOperator *);
    const char *(*execution_provider)(const OrtOperator *);
    int (*input_type)(const OrtOperator *, size_t index);
    size_t (*input_count)(const OrtOperator *);
    int (*output_type)(const OrtOperator *, size_t index);
    size_t (*output_count)(const OrtOperator *);
    void *unused_8;  // runs a kernel; compute replaced it
    void (*destroy_kernel)(void *kernel);
    int (*input_characteristic)(const OrtOperator *, size_t index);
    int (*output_characteristic)(const OrtOperator *, size_t index);
    int (*input_memory)(const OrtOperator *, size_t index);
    void *unused_13[4];  // inputs and outputs of variable number
    OrtStatus *(*create_kernel)(const OrtOperator *, const OrtApi *, const OrtKernelInfo *, void **kernel);
    OrtStatus *(*compute)(void *kernel, OrtKernelContext *);
    OrtStatus *(*infer_shapes)(const OrtOperator *, OrtInferenceContext *);
    int (*first_opset)(const OrtOperator *);
    int (*last_opset)(const OrtOperator *);
    void *unused_22[4];  // read by version 18 and later only
};

#endif
