// What kernels share: reading a node's attributes and tensors, and refusing with a message that names them.
#pragma once

#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "ort_abi.h"

// A refusal; what() is the message of the status.
struct Refusal : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Any OrtStatus* as an exception, so that a kernel reads straight down.
inline void check(const OrtApi& api, OrtStatus* status, const char* what) {
  if (status == nullptr) return;
  api.release(status);
  throw Refusal(std::string("onnxruntime refused to give ") + what);
}

// Runs `body`, turning an exception into a status: none may cross the C interface.
template <typename Body>
OrtStatus* guarded(const OrtApi& api, const Body& body) {
  try {
    body();
    return nullptr;
  } catch (const Refusal& refusal) {
    return api.create_status(kInvalidArgument, refusal.what());
  } catch (const std::exception& error) {
    return api.create_status(kFail, error.what());
  }
}

struct Tensor {
  int type = kAnyType;
  std::vector<int64_t> dims;
  void* data = nullptr;

  std::string text() const {  // e.g. int8[64,96]
    std::string result = type == kInt8    ? "int8["
                         : type == kUint8 ? "uint8["
                                          : "type " + std::to_string(type) + " [";
    for (size_t i = 0; i < dims.size(); ++i) result += (i ? "," : "") + std::to_string(dims[i]);
    return result + "]";
  }
};

inline Tensor input(const OrtApi& api, const OrtKernelContext* context, size_t index) {
  OrtValue* value = nullptr;
  check(api, api.input(context, index, &value), "an input");
  OrtShape* shape = nullptr;
  check(api, api.shape(value, &shape), "an input's shape");
  Tensor tensor;
  size_t rank = 0;
  OrtStatus* status = api.type(shape, &tensor.type);
  if (status == nullptr) status = api.rank(shape, &rank);
  if (status == nullptr) {
    tensor.dims.resize(rank);
    status = api.dims(shape, tensor.dims.data(), rank);
  }
  api.release(shape);
  check(api, status, "an input's shape");
  check(api, api.data(value, &tensor.data), "an input's data");
  return tensor;
}

inline void* output(const OrtApi& api, OrtKernelContext* context, size_t index,
                    const std::vector<int64_t>& dims) {
  OrtValue* value = nullptr;
  check(api, api.output(context, index, dims.data(), dims.size(), &value), "an output");
  void* data = nullptr;
  check(api, api.data(value, &data), "an output's data");
  return data;
}

inline int64_t attribute(const OrtApi& api, const OrtKernelInfo* info, const char* name, int64_t missing) {
  int64_t value = 0;
  OrtStatus* status = api.attribute(info, name, &value);
  if (status == nullptr) return value;
  api.release(status);
  return missing;
}

// Text that onnxruntime hands over in two calls: its size with the terminator, then its bytes.
template <typename Read>
std::string text_of(const OrtApi& api, const Read& read, const std::string& missing) {
  size_t size = 0;
  OrtStatus* status = read(nullptr, &size);
  std::string text(size, '\0');
  if (status == nullptr && size > 0) status = read(&text[0], &size);
  if (status != nullptr) {
    api.release(status);
    return missing;
  }
  return text.c_str();  // drops the terminator
}
