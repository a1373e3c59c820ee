// The library's entry point: onnxruntime calls it for each session that loads the library. One line per op.

#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "ops.h"

namespace {

struct Entry {
  const char* domain;
  const OrtCustomOp& (*op)();
};
const Entry kOps[] = {
    {"psaflow", channel_lut_op},
    {"psaflow", grid_lerp_op},
    {"psaflow", lerp_psa_op},
    {"psaflow", linear_op},
    {"psaflow", linear_sum_op},
    {"psaflow", patch_linear_op},
    {"psaflow", psa_op},
    {"psaflow", requant_op},
    {"psaflow", token_linear_op},
    {"psaflow", token_mean_op},
    {"qonnx.custom_op.general", quant_op},
    {"onnx.brevitas", quant_op},
};

OrtStatus* make_domains(const OrtApi& api, std::vector<std::pair<std::string, OrtCustomOpDomain*>>& domains) {
  for (const Entry& entry : kOps) {
    if (domains.empty() || domains.back().first != entry.domain) {  // the lines of a domain stand together
      OrtCustomOpDomain* made = nullptr;
      if (OrtStatus* status = api.create_domain(entry.domain, &made)) return status;
      domains.emplace_back(entry.domain, made);
    }
    if (OrtStatus* status = api.add_op(domains.back().second, &entry.op())) return status;
  }
  return nullptr;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) OrtStatus* RegisterCustomOps(OrtSessionOptions* options,
                                                                               const OrtApiBase* base) {
  const OrtApi* api = base->get_api(kOrtVersion);
  static std::mutex mutex;
  const std::lock_guard<std::mutex> lock(mutex);
  static std::vector<std::pair<std::string, OrtCustomOpDomain*>> domains;  // sessions point to them: never freed
  if (domains.empty()) {
    std::vector<std::pair<std::string, OrtCustomOpDomain*>> made;
    if (OrtStatus* status = make_domains(*api, made)) return status;
    domains = std::move(made);
  }
  for (const auto& domain : domains) {
    if (OrtStatus* status = api->add_domain(options, domain.second)) return status;
  }
  return nullptr;
}
