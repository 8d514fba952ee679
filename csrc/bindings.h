// How a call arrives from Python: addresses, and a score as its kind and numbers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "check.h"

namespace insight {

template <class T>
T* at(uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

inline AnyScore any_score(int64_t kind, const std::vector<double>& parameters, uint64_t seed,
                          uint64_t draw) {
  expect(kind >= 0 && kind < kScoreKinds, "score", "a kind from 0 to 7", kind);
  AnyScore score{static_cast<ScoreKind>(kind), {}, seed, draw};
  const size_t count = parameter_count(score.kind);
  expect(parameters.size() >= count && parameters.size() <= kMaxParameters, "parameters",
         std::to_string(count) + " numbers for this score", parameters.size());
  std::copy(parameters.begin(), parameters.end(), score.parameters);
  return score;
}

}  // namespace insight
