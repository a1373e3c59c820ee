// The instruction set: what the CPU has, lowered by PSAFLOW_ISA.

#include "isa.h"

#include <cstdio>
#include <cstdlib>

#include "refusal.h"

namespace {

constexpr Isa kAll[] = {Isa::kPortable, Isa::kAvx2, Isa::kAvx512};

Isa best_isa() {
#if PSAFLOW_X86
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi")) {
    return Isa::kAvx512;
  }
  if (__builtin_cpu_supports("avx2")) return Isa::kAvx2;
#endif
  return Isa::kPortable;
}

}  // namespace

const char* name_of(Isa isa) {
  switch (isa) {
    case Isa::kAvx512: return "avx512";
    case Isa::kAvx2: return "avx2";
    default: return "portable";
  }
}

Isa chosen_isa() {
  const Isa best = best_isa();
  const char* asked = std::getenv("PSAFLOW_ISA");
  if (asked == nullptr || *asked == '\0') return best;
  for (const Isa isa : kAll) {
    if (std::string(asked) != name_of(isa)) continue;
    if (isa <= best) return isa;
    throw Refusal("PSAFLOW_ISA=" + std::string(asked) + ": this CPU has " + name_of(best) +
                  " at most; name that or less, or unset it");
  }
  throw Refusal("PSAFLOW_ISA=" + std::string(asked) + " must be portable, avx2 or avx512");
}

bool chosen_vnni() {
#if PSAFLOW_X86
  return chosen_isa() == Isa::kAvx512 && __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

// For callers outside onnxruntime: 0 and the chosen set's name, or 1 and why there is none; `text` holds `size` bytes.
extern "C" __attribute__((visibility("default"))) int psaflow_isa(char* text, size_t size) {
  try {
    std::snprintf(text, size, "%s", name_of(chosen_isa()));
    return 0;
  } catch (const Refusal& refusal) {
    std::snprintf(text, size, "%s", refusal.what());
    return 1;
  }
}
