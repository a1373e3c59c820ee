// The part of onnxruntime's C interface that a custom-op library needs, declared by hand.
//
// onnxruntime freezes the order of OrtApi's entries and of OrtCustomOp's fields once a version is released,
// and checks the former when it is compiled. So a library needs none of its headers: an index is enough.
// Its checks: version 12 ends with entry 218, 14 with 238, 15 with 254, 16 with 265, 17 with 275.
// Version 17 is the first that lends its threads.
#pragma once

#include <cstddef>
#include <cstdint>

constexpr uint32_t kOrtVersion = 17;

struct OrtStatus;  // null: success
struct OrtKernelInfo;
struct OrtKernelContext;
struct OrtValue;
struct OrtShape;  // OrtTensorTypeAndShapeInfo
struct OrtCustomOpDomain;
struct OrtSessionOptions;

enum OrtType : int {  // as in TensorProto.DataType
  kAnyType = 0,
  kFloat = 1,
  kUint8 = 2,
  kInt8 = 3,
  kUint16 = 4,
  kInt16 = 5,
  kInt32 = 6,
  kInt64 = 7,
  kBool = 9,
  kHalf = 10,
  kDouble = 11,
  kUint32 = 12,
  kUint64 = 13,
};
enum OrtError : int { kFail = 1, kInvalidArgument = 2 };

struct OrtApi {
  template <typename Function>
  Function entry(size_t index) const {
    return reinterpret_cast<Function>(reinterpret_cast<void* const*>(this)[index]);
  }

  OrtStatus* create_status(OrtError code, const char* message) const {
    return entry<OrtStatus* (*)(int, const char*)>(0)(code, message);
  }
  OrtStatus* create_domain(const char* name, OrtCustomOpDomain** domain) const {
    return entry<OrtStatus* (*)(const char*, OrtCustomOpDomain**)>(26)(name, domain);
  }
  OrtStatus* add_op(OrtCustomOpDomain* domain, const struct OrtCustomOp* op) const {
    return entry<OrtStatus* (*)(OrtCustomOpDomain*, const OrtCustomOp*)>(27)(domain, op);
  }
  OrtStatus* add_domain(OrtSessionOptions* options, OrtCustomOpDomain* domain) const {
    return entry<OrtStatus* (*)(OrtSessionOptions*, OrtCustomOpDomain*)>(28)(options, domain);
  }
  OrtStatus* data(OrtValue* value, void** data) const {
    return entry<OrtStatus* (*)(OrtValue*, void**)>(51)(value, data);
  }
  OrtStatus* type(const OrtShape* shape, int* type) const {
    return entry<OrtStatus* (*)(const OrtShape*, int*)>(60)(shape, type);
  }
  OrtStatus* rank(const OrtShape* shape, size_t* rank) const {
    return entry<OrtStatus* (*)(const OrtShape*, size_t*)>(61)(shape, rank);
  }
  OrtStatus* dims(const OrtShape* shape, int64_t* dims, size_t rank) const {
    return entry<OrtStatus* (*)(const OrtShape*, int64_t*, size_t)>(62)(shape, dims, rank);
  }
  OrtStatus* shape(const OrtValue* value, OrtShape** shape) const {
    return entry<OrtStatus* (*)(const OrtValue*, OrtShape**)>(65)(value, shape);
  }
  OrtStatus* attribute(const OrtKernelInfo* info, const char* name, float* value) const {
    return entry<OrtStatus* (*)(const OrtKernelInfo*, const char*, float*)>(85)(info, name, value);
  }
  OrtStatus* attribute(const OrtKernelInfo* info, const char* name, int64_t* value) const {
    return entry<OrtStatus* (*)(const OrtKernelInfo*, const char*, int64_t*)>(86)(info, name, value);
  }
  OrtStatus* attribute(const OrtKernelInfo* info, const char* name, char* value, size_t* size) const {
    return entry<OrtStatus* (*)(const OrtKernelInfo*, const char*, char*, size_t*)>(87)(
        info, name, value, size);
  }
  OrtStatus* input(const OrtKernelContext* context, size_t index, OrtValue** value) const {
    return entry<OrtStatus* (*)(const OrtKernelContext*, size_t, OrtValue**)>(90)(context, index, value);
  }
  OrtStatus* output(OrtKernelContext* context, size_t index, const int64_t* dims, size_t rank,
                    OrtValue** value) const {
    return entry<OrtStatus* (*)(OrtKernelContext*, size_t, const int64_t*, size_t, OrtValue**)>(91)(
        context, index, dims, rank, value);
  }
  void release(OrtStatus* status) const { entry<void (*)(OrtStatus*)>(93)(status); }
  void release(OrtShape* shape) const { entry<void (*)(OrtShape*)>(99)(shape); }
  OrtStatus* input_name(const OrtKernelInfo* info, size_t index, char* name, size_t* size) const {
    return entry<OrtStatus* (*)(const OrtKernelInfo*, size_t, char*, size_t*)>(232)(
        info, index, name, size);
  }
  OrtStatus* node_name(const OrtKernelInfo* info, char* name, size_t* size) const {
    return entry<OrtStatus* (*)(const OrtKernelInfo*, char*, size_t*)>(244)(info, name, size);
  }
  OrtStatus* constant_input(const OrtKernelInfo* info, size_t index, int* is_constant, const OrtValue** value) const {
    return entry<OrtStatus* (*)(const OrtKernelInfo*, size_t, int*, const OrtValue**)>(249)(
        info, index, is_constant, value);
  }
  // run(data, i) for each i < total on the session's threads; batches == 0: one task for each i
  OrtStatus* parallel_for(const OrtKernelContext* context, void (*run)(void*, size_t), size_t total, size_t batches,
                          void* data) const {
    return entry<OrtStatus* (*)(const OrtKernelContext*, void (*)(void*, size_t), size_t, size_t, void*)>(274)(
        context, run, total, batches, data);
  }
};

struct OrtApiBase {
  const OrtApi* (*get_api)(uint32_t version);
  const char* (*version_string)();
};

// What onnxruntime reads of a custom op up to version 17. What is optional, or called by older versions, is null.
struct OrtCustomOp {
  using Count = size_t (*)(const OrtCustomOp*);
  using Text = const char* (*)(const OrtCustomOp*);
  using PerIndex = int (*)(const OrtCustomOp*, size_t);
  using Number = int (*)(const OrtCustomOp*);

  uint32_t version = kOrtVersion;
  void* create_kernel_v1 = nullptr;
  Text name = nullptr;
  Text execution_provider = nullptr;
  PerIndex input_type = nullptr;
  Count input_count = nullptr;
  PerIndex output_type = nullptr;
  Count output_count = nullptr;
  void* compute_v1 = nullptr;
  void (*destroy_kernel)(void* kernel) = nullptr;
  PerIndex input_characteristic = nullptr;
  PerIndex output_characteristic = nullptr;
  PerIndex input_memory = nullptr;
  Number least_variadic_inputs = nullptr;
  Number same_type_inputs = nullptr;
  Number least_variadic_outputs = nullptr;
  Number same_type_outputs = nullptr;
  OrtStatus* (*create_kernel)(const OrtCustomOp*, const OrtApi*, const OrtKernelInfo*, void**) = nullptr;
  OrtStatus* (*compute)(void* kernel, OrtKernelContext*) = nullptr;
  void* infer_shapes = nullptr;
  Number start_version = nullptr;
  Number end_version = nullptr;
};
