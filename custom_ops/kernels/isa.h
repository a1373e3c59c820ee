// Which instructions the kernels use. The library is compiled for the oldest CPU of its architecture; what needs
// a newer one is a function of its own with a target attribute, chosen here when a session is made.
#pragma once

#include <string>

#if defined(__x86_64__) || defined(_M_X64)
#define PSAFLOW_X86 1
// Whatever such a function calls must be inlined into it: always_inline, else it keeps the oldest CPU's code.
#define PSAFLOW_AVX2 __attribute__((target("avx2")))
#define PSAFLOW_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,prefer-vector-width=512")))
#define PSAFLOW_VNNI \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,prefer-vector-width=512")))
#else
#define PSAFLOW_X86 0
#endif
#define PSAFLOW_INLINE inline __attribute__((always_inline))

enum class Isa { kPortable, kAvx2, kAvx512 };  // each includes the ones before it

const char* name_of(Isa isa);

// The best that this CPU has, or the lower one that the environment variable PSAFLOW_ISA names. Throws Refusal
// for a name that is none of ours, or of what this CPU lacks. Reads the variable at each call.
Isa chosen_isa();

// Whether, under chosen_isa(), functions marked PSAFLOW_VNNI may run as well.
bool chosen_vnni();

// Loop::run(arguments), compiled for each instruction set, as `isa` says. Loop::run must be PSAFLOW_INLINE and static;
// the compiler turns its plain loop into vectors.
template <typename Loop, typename... Arguments>
void run_portable(Arguments... arguments) {
  Loop::run(arguments...);
}
#if PSAFLOW_X86
template <typename Loop, typename... Arguments>
PSAFLOW_AVX2 void run_avx2(Arguments... arguments) {
  Loop::run(arguments...);
}
template <typename Loop, typename... Arguments>
PSAFLOW_AVX512 void run_avx512(Arguments... arguments) {
  Loop::run(arguments...);
}
#endif
template <typename Loop, typename... Arguments>
void run_on(Isa isa, Arguments... arguments) {
#if PSAFLOW_X86
  if (isa == Isa::kAvx512) return run_avx512<Loop>(arguments...);
  if (isa == Isa::kAvx2) return run_avx2<Loop>(arguments...);
#endif
  (void)isa;
  run_portable<Loop>(arguments...);
}
