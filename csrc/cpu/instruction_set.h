// One loop body, compiled for several instruction sets by function-level targets, picked at run
// time. (Compiling whole files with -mavx512f would let such code leak into static initialisers
// and shared inline functions, and crash older processors at import.)
#pragma once

#include "../portable.h"

namespace insight::cpu {

enum class InstructionSet : int { kPortable = 0, kAvx2 = 1, kAvx512 = 2 };

inline InstructionSet best_instruction_set() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    return InstructionSet::kAvx512;
  }
  if (__builtin_cpu_supports("avx2")) return InstructionSet::kAvx2;
#endif
  return InstructionSet::kPortable;
}

#if defined(__x86_64__)
template <class Body, class... Args>
__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512"))) auto
run_avx512(Args... args) {
  return Body::run(args...);
}

template <class Body, class... Args>
__attribute__((target("avx2"))) auto run_avx2(Args... args) {
  return Body::run(args...);
}
#endif

// Body::run(args...), an always-inline function, under the given instruction set.
template <class Body, class... Args>
auto run(InstructionSet set, Args... args) {
#if defined(__x86_64__)
  if (set == InstructionSet::kAvx512) return run_avx512<Body>(args...);
  if (set == InstructionSet::kAvx2) return run_avx2<Body>(args...);
#endif
  static_cast<void>(set);
  return Body::run(args...);
}

}  // namespace insight::cpu
