// Which score, as it crosses the language boundary, and the way back to its type.
#pragma once

#include "weighted_information.h"

namespace insight {

enum class ScoreKind : int {
  kWeightedInformation = 0,
};

constexpr int kMaxParameters = 6;

struct AnyScore {
  ScoreKind kind;
  double parameters[kMaxParameters];
  uint64_t seed, draw;  // of the scores that draw at random
};

// Calls `visit` with the score's own type. Every score offers
//   operator()(a, b) -> the reference score, in portable arithmetic; with kPerIndex (a, b, index)
//   bound(a, b)      -> a cheap float32 no smaller than that score rounded to float32, or NaN
//   evidence_limit(threshold) -> no candidate with a + b above it scores threshold or more
template <class Visit>
auto with_score(const AnyScore& any, Visit visit) {
  const double* p = any.parameters;
  return visit(WeightedInformation(static_cast<int>(p[0]), p[1], p[2], p[3] != 0, p[4] != 0));
}

}  // namespace insight
