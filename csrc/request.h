// The structs of insight.h by their names in C++.
#pragma once

#include "insight.h"
#include "order.h"
#include "score/any.h"

namespace insight {

using Beliefs = insight_beliefs;
using Request = insight_request;
using Result = insight_result;
using Outcome = insight_outcome;

// Of the tie hash by the i of a belief.
inline uint64_t tie_key(const Beliefs& beliefs, uint64_t seed) {
  return key_from(hash_key(seed), beliefs.first);
}

inline const int64_t* list_of(const insight_subset& subset) {
  return subset.form == INSIGHT_LIST ? static_cast<const int64_t*>(subset.data) : nullptr;
}
inline const bool* mask_of(const insight_subset& subset) {
  return subset.form == INSIGHT_MASK ? static_cast<const bool*>(subset.data) : nullptr;
}

// Which beliefs may be selected, by their i. Null means "all" and "none".
struct Eligible {
  const int64_t* candidates;
  int64_t candidates_size;
  const bool* candidate_mask;
  const int64_t* excluded;
  int64_t excluded_size;
  const bool* exclusion_mask;

  explicit Eligible(const Request& request)
      : candidates(list_of(request.candidates)),
        candidates_size(candidates ? request.candidates.size : 0),
        candidate_mask(mask_of(request.candidates)),
        excluded(list_of(request.exclude)),
        excluded_size(excluded ? request.exclude.size : 0),
        exclusion_mask(mask_of(request.exclude)) {}
};

}  // namespace insight
