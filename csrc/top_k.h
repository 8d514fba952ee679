// What goes in and what comes out of a selection, and the back ends' entry points.
#pragma once

#include <cstddef>
#include <cstdint>

#include "order.h"
#include "score/any.h"

namespace insight {

// N beliefs Beta(alpha[i], beta[i]), a whole pool or the part of one that begins at `first`: belief
// i is that of prompt first + i, under which name it is hashed, drawn for and selected.
struct Beliefs {
  const float* alpha;
  const float* beta;
  int64_t size;
  int64_t first = 0;

  // Of the tie hash by i.
  uint64_t tie_key(uint64_t seed) const { return key_from(hash_key(seed), first); }
};

// Which beliefs may be selected, by their i. At most one of the two candidate forms is set, and at
// most one of the two exclusion forms; null means "all" and "none".
struct Eligible {
  const int64_t* candidates = nullptr;  // a set: repeats count once
  int64_t candidates_size = 0;
  const bool* candidate_mask = nullptr;  // one per belief
  const int64_t* excluded = nullptr;     // a set too
  int64_t excluded_size = 0;
  const bool* exclusion_mask = nullptr;
};

// The k best prompts, best first if `sorted`, by ascending index if not. Both arrays hold k
// elements.
struct Selection {
  int64_t* indices;
  float* scores;
};

struct SelectionRequest {
  int64_t k;
  uint64_t seed = 0;
  bool sorted = true;
};

// How a call ended. Nothing was written unless it is kDone. An index is the i of a belief.
struct Outcome {
  enum Code : int {
    kDone,
    kBadBelief,       // where: smallest index of a belief that is not finite and positive
    kBadCandidate,    // where: first position in candidates that is outside the pool
    kBadExclusion,    // where: first position in excluded that is outside the pool
    kTooFewEligible,  // where: how many prompts are eligible
    kBadScore,        // where: first position among scores to be merged of one that is not a number
    kChanged,         // where: how many prompts were found before the beliefs changed meanwhile
  };
  Code code = kDone;
  int64_t where = 0;
};

}  // namespace insight
