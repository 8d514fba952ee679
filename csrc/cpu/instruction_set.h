// Which instruction set's loops to use.
#pragma once

#include <cstring>
#include <string>

#include "../check.h"
#include "kernels.h"

namespace insight::cpu {

struct InstructionSet {
  const char* name;
  bool (*runs_here)();
  const insight_kernels::Kernels& (*kernels)(int kind);
};

// The fastest last.
inline const InstructionSet kInstructionSets[] = {
    {"portable", [] { return true; }, insight_kernels::portable},
#if defined(__x86_64__)
    {"avx2", [] { return __builtin_cpu_supports("avx2") != 0; }, insight_kernels::avx2},
    {"avx512",
     [] {
       return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
     },
     insight_kernels::avx512},
#elif defined(__aarch64__)
    {"neon", [] { return true; }, insight_kernels::neon},
#endif
};

// The one of this name, or the best of this processor if it is null. ArgumentError if it lacks it.
inline const InstructionSet& instruction_set(const char* name) {
  const InstructionSet* found = nullptr;
  for (const InstructionSet& set : kInstructionSets) {
    if ((!name || std::strcmp(name, set.name) == 0) && set.runs_here()) found = &set;
  }
  if (found) return *found;
  std::string names;
  for (const InstructionSet& set : kInstructionSets) {
    if (set.runs_here()) names += std::string(names.empty() ? "" : ", ") + set.name;
  }
  throw ArgumentError(text("instruction_set: expected one of this processor's (", names, "), got ", name));
}

}  // namespace insight::cpu
