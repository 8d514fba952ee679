// Which instruction set's loops to use.
#pragma once

#include "../check.h"
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

// ArgumentError if this processor lacks the set.
inline const insight_kernels::Kernels& kernels_for(InstructionSet set, int kind) {
  const int number = static_cast<int>(set);
  expect(number >= 0 && number <= static_cast<int>(best_instruction_set()), "instruction_set",
         "one that this processor has (0 portable, 1 AVX2, 2 AVX-512)", number);
#if defined(__x86_64__)
  if (set == InstructionSet::kAvx512) return insight_kernels::avx512(kind);
  if (set == InstructionSet::kAvx2) return insight_kernels::avx2(kind);
#endif
  return insight_kernels::portable(kind);
}

}  // namespace insight::cpu
