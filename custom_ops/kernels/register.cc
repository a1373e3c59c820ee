// The library's entry point: onnxruntime calls it for each session that loads the library. One line per op.

#include <mutex>

#include "channel_lut.h"

namespace {
const OrtCustomOp* const kOps[] = {
    &channel_lut_op(),
};
}  // namespace

extern "C" __attribute__((visibility("default"))) OrtStatus* RegisterCustomOps(OrtSessionOptions* options,
                                                                               const OrtApiBase* base) {
  const OrtApi* api = base->get_api(kOrtVersion);
  static std::mutex mutex;
  const std::lock_guard<std::mutex> lock(mutex);
  static OrtCustomOpDomain* domain = nullptr;  // sessions point to it: never freed
  if (domain == nullptr) {
    OrtCustomOpDomain* made = nullptr;
    if (OrtStatus* status = api->create_domain("psaflow", &made)) return status;
    for (const OrtCustomOp* op : kOps) {
      if (OrtStatus* status = api->add_op(made, op)) return status;
    }
    domain = made;
  }
  return api->add_domain(options, domain);
}
