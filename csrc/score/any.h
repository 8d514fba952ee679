// Which score, as it crosses the language boundary, and the way back to its type.
#pragma once

#include "expected_difficulty.h"
#include "inverse_evidence.h"
#include "mixed_group.h"
#include "thompson.h"
#include "weighted_information.h"

namespace insight {

// The numbers that insight_ext/scores.py uses.
enum class ScoreKind : int {
  kWeightedInformation = 0,
  kWeightAlone = 1,
  kInformationAlone = 2,
  kDrawnWeightInformation = 3,
  kThompson = 4,
  kExpectedDifficulty = 5,
  kInverseEvidence = 6,
  kMixedGroup = 7,
};

constexpr int kScoreKinds = 8;
constexpr int kMaxParameters = 6;

// How many of them a score reads.
constexpr int parameter_count(ScoreKind kind) {
  switch (kind) {
    case ScoreKind::kWeightedInformation:
    case ScoreKind::kWeightAlone:
    case ScoreKind::kInformationAlone:
    case ScoreKind::kDrawnWeightInformation:
      return 3;
    case ScoreKind::kThompson:
    case ScoreKind::kExpectedDifficulty:
    case ScoreKind::kMixedGroup:
      return 1;
    case ScoreKind::kInverseEvidence:
      break;
  }
  return 0;
}

struct AnyScore {
  ScoreKind kind;
  double parameters[kMaxParameters];
  uint64_t seed, draw;  // of the scores that draw at random

  // Of the draws by i for the beliefs of prompts first + i.
  uint64_t key(int64_t first) const { return key_from(draw_key(seed, draw), first); }
};

template <class Score>
struct ScoreType {
  using type = Score;
};

// Calls visit(ScoreType<S>{}) with the score's own type S. Every score offers
//   from(parameters, key)         -> the score with its constants worked out; trivially copyable
//   operator()(a, b)              -> the reference score, in portable arithmetic; scores with
//                                    kPerIndex take (a, b, index) and doubles alone
//   bound(a, b)                   -> a cheap float32 no smaller than that score as float32, or NaN
//   evidence_limit(threshold)     -> no candidate with a + b above it scores threshold or more
#if defined(__CUDACC__)
#pragma nv_exec_check_disable  // `visit` is the caller's, for the host or for the device
#endif
template <class Visit>
INSIGHT_HD decltype(auto) with_score_type(ScoreKind kind, Visit visit) {
  switch (kind) {
    case ScoreKind::kWeightAlone:
      return visit(ScoreType<WeightAlone>{});
    case ScoreKind::kInformationAlone:
      return visit(ScoreType<InformationAlone>{});
    case ScoreKind::kDrawnWeightInformation:
      return visit(ScoreType<DrawnWeightInformation>{});
    case ScoreKind::kThompson:
      return visit(ScoreType<Thompson>{});
    case ScoreKind::kExpectedDifficulty:
      return visit(ScoreType<ExpectedDifficulty>{});
    case ScoreKind::kInverseEvidence:
      return visit(ScoreType<InverseEvidence>{});
    case ScoreKind::kMixedGroup:
      return visit(ScoreType<MixedGroup>{});
    case ScoreKind::kWeightedInformation:
      break;
  }
  return visit(ScoreType<WeightedInformation>{});
}

}  // namespace insight
