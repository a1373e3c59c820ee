// A kernel class as onnxruntime wants it: a table of C functions. A kernel K has
//   static constexpr const char* kName;             the op
//   static constexpr int kInputs[], kOutput;        types; kAnyType is checked by compute, and as output x's type
//   K(const OrtApi&, const OrtKernelInfo*);         reads attributes and constants; may throw
//   void compute(OrtKernelContext*) const;          checks shapes first; may throw; runs on several threads at once
//   const OrtApi& api() const;
// and is registered by one line in ops.h and one in register.cc.
#pragma once

#include <iterator>

#include "tensor.h"

template <typename K>
const OrtCustomOp& custom_op() {
  static const OrtCustomOp op = [] {
    OrtCustomOp made;
    made.name = [](const OrtCustomOp*) { return K::kName; };
    made.execution_provider = [](const OrtCustomOp*) -> const char* { return nullptr; };  // CPU
    made.input_count = [](const OrtCustomOp*) -> size_t { return std::size(K::kInputs); };
    made.input_type = [](const OrtCustomOp*, size_t index) -> int { return K::kInputs[index]; };
    made.output_count = [](const OrtCustomOp*) -> size_t { return 1; };
    made.output_type = [](const OrtCustomOp*, size_t) -> int { return K::kOutput; };
    made.input_characteristic = [](const OrtCustomOp*, size_t) { return 0; };  // required
    made.output_characteristic = [](const OrtCustomOp*, size_t) { return 0; };
    made.input_memory = [](const OrtCustomOp*, size_t) { return 0; };  // the provider's own
    made.create_kernel = [](const OrtCustomOp*, const OrtApi* api, const OrtKernelInfo* info, void** kernel) {
      return guarded(*api, [&] { *kernel = new K(*api, info); });
    };
    made.compute = [](void* kernel, OrtKernelContext* context) {
      const K& self = *static_cast<const K*>(kernel);
      return guarded(self.api(), [&] { self.compute(context); });
    };
    made.destroy_kernel = [](void* kernel) { delete static_cast<K*>(kernel); };
    return made;
  }();
  return op;
}
