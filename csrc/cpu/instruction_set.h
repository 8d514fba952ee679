// Which instruction set's loops to use.
#pragma once

#include "kernels.h"

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

inline const insight_kernels::Kernels& kernels_for(InstructionSet set, int kind) {
#if defined(__x86_64__)
  if (set == InstructionSet::kAvx512) return insight_kernels::avx512(kind);
  if (set == InstructionSet::kAvx2) return insight_kernels::avx2(kind);
#endif
  static_cast<void>(set);
  return insight_kernels::portable(kind);
}

}  // namespace insight::cpu
