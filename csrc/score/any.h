// From a score of insight.h to its type.
#pragma once

#include "../insight.h"
#include "expected_difficulty.h"
#include "inverse_evidence.h"
#include "mixed_group.h"
#include "thompson.h"
#include "weighted_information.h"

namespace insight {

// How many of them a score reads.
constexpr int64_t parameter_count(int64_t kind) {
  switch (kind) {
    case INSIGHT_WEIGHTED_INFORMATION:
    case INSIGHT_WEIGHT_ALONE:
    case INSIGHT_INFORMATION_ALONE:
    case INSIGHT_DRAWN_WEIGHT_INFORMATION:
      return 3;
    case INSIGHT_THOMPSON:
    case INSIGHT_EXPECTED_DIFFICULTY:
    case INSIGHT_MIXED_GROUP:
      return 1;
  }
  return 0;
}

// Of a score's draws by i for the beliefs of prompts first + i.
inline uint64_t key_of(const insight_score& score, int64_t first) {
  return key_from(draw_key(score.seed, score.draw), first);
}

template <class Score>
struct ScoreType {
  using type = Score;
};

// Calls visit(ScoreType<S>{}) with the score's own type S. Every score offers
//   from(parameters, key)         -> the score with its constants worked out; trivially copyable
//   operator()(a, b)              -> the reference score, in portable arithmetic; scores with
//                                    kPerIndex take (a, b, index)
//   bound(a, b)                   -> a cheap float32 no smaller than that score as float32, or NaN;
//                                    with kBoundRanks it orders beliefs nearly as the score does
//   evidence_limit(threshold)     -> no candidate with a + b above it scores threshold or more
#if defined(__CUDACC__)
#pragma nv_exec_check_disable  // `visit` is the caller's, for the host or for the device
#endif
template <class Visit>
INSIGHT_HD decltype(auto) with_score_type(int kind, Visit visit) {
  switch (kind) {
    case INSIGHT_WEIGHT_ALONE:
      return visit(ScoreType<WeightAlone>{});
    case INSIGHT_INFORMATION_ALONE:
      return visit(ScoreType<InformationAlone>{});
    case INSIGHT_DRAWN_WEIGHT_INFORMATION:
      return visit(ScoreType<DrawnWeightInformation>{});
    case INSIGHT_THOMPSON:
      return visit(ScoreType<Thompson>{});
    case INSIGHT_EXPECTED_DIFFICULTY:
      return visit(ScoreType<ExpectedDifficulty>{});
    case INSIGHT_INVERSE_EVIDENCE:
      return visit(ScoreType<InverseEvidence>{});
    case INSIGHT_MIXED_GROUP:
      return visit(ScoreType<MixedGroup>{});
    case INSIGHT_WEIGHTED_INFORMATION:
      break;
  }
  return visit(ScoreType<WeightedInformation>{});
}

}  // namespace insight
