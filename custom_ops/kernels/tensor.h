// What kernels share: reading a node's attributes and tensors, and refusing with a message that names them.
#pragma once

#include <exception>
#include <initializer_list>
#include <string>
#include <vector>

#include "ort_abi.h"
#include "refusal.h"

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
  const void* data = nullptr;

  template <typename T>
  const T* as() const {
    return static_cast<const T*>(data);
  }
  int64_t size() const { return product(0, dims.size()); }
  int64_t product(size_t begin, size_t end) const {  // of the dimensions begin..end-1
    int64_t result = 1;
    for (size_t i = begin; i < end; ++i) result *= dims[i];
    return result;
  }
  std::string text() const;  // e.g. int8[64,96]
};

// Reads a value's type, shape and data.
Tensor tensor_of(const OrtApi& api, const OrtValue* value);

Tensor input(const OrtApi& api, const OrtKernelContext* context, size_t index);

void* output(const OrtApi& api, OrtKernelContext* context, size_t index, const std::vector<int64_t>& dims);

// What a result is clipped to.
struct Limits {
  int64_t lo, hi;
};

// A node as a kernel sees it when a session is made: its attributes, its inputs as far as they are constant, and
// how to refuse it. `info` is valid in the kernel's constructor only; the rest for the kernel's life.
class Node {
 public:
  Node(const OrtApi& api, const OrtKernelInfo* info, const char* op, std::initializer_list<const char*> roles);

  int64_t integer(const char* attribute, int64_t missing) const;
  float real(const char* attribute, float missing) const;
  std::string text(const char* attribute, const std::string& missing) const;
  bool constant(size_t index, Tensor* tensor) const;  // whether input `index` is a constant, and it

  // Throws Refusal: "Requant 'scale': reason"
  [[noreturn]] void refuse(const std::string& reason) const;
  // Throws Refusal: "Requant 'scale' of x 'in' int8[4,96] and mult 'm' int32[95]: reason"; tensors by input index
  [[noreturn]] void refuse(std::initializer_list<const Tensor*> tensors, const std::string& reason) const;

  // true for HALF_UP, false for HALF_EVEN; refuses another `rounding`
  bool half_up() const;

  // The attributes lo and hi; refuses what is no range of int8.
  Limits limits() const;

  const OrtApi& api;

 private:
  const OrtKernelInfo* info_;
  std::string label_;                // "Requant 'scale'"
  std::vector<std::string> roles_;  // "x 'in0'"
};
