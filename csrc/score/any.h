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

template <class Score>
struct ScoreType {
  using type = Score;
};

// Calls visit(ScoreType<S>{}) with the score's own type S. Every score offers
//   from(parameters, seed, draw)  -> the score with its constants worked out; trivially copyable
//   operator()(a, b)              -> the reference score, in portable arithmetic; scores with
//                                    kPerIndex take (a, b, index) and doubles alone
//   bound(a, b)                   -> a cheap float32 no smaller than that score as float32, or NaN
//   evidence_limit(threshold)     -> no candidate with a + b above it scores threshold or more
template <class Visit>
decltype(auto) with_score_type(ScoreKind, Visit visit) {
  return visit(ScoreType<WeightedInformation>{});
}

}  // namespace insight
