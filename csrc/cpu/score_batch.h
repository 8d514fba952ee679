// The reference score of a batch of candidates.
#pragma once

#include "lanes.h"

namespace insight::cpu {

// out[i] = score(a[i], b[i]) for i < count, rounded to float32. `count` is a multiple of kLanes.
// `indices` names each candidate's place in the pool; only scores with kPerIndex read it.
template <class Score>
struct ScoreBatch {
  INSIGHT_HD static int run(const Score* score, const float* a, const float* b,
                            const int64_t* indices, int64_t count, float* out) {
    if constexpr (Score::kPerIndex) {
      for (int64_t i = 0; i < count; ++i) {
        out[i] = static_cast<float>((*score)(double(a[i]), double(b[i]), indices[i])) + 0.0f;
      }
    } else {
      for (int64_t i = 0; i < count; i += kLanes) {
        HalfLanes narrow_a, narrow_b;
        memcpy(&narrow_a, a + i, sizeof(HalfLanes));
        memcpy(&narrow_b, b + i, sizeof(HalfLanes));
        const Lanes wide = (*score)(__builtin_convertvector(narrow_a, Lanes),
                                    __builtin_convertvector(narrow_b, Lanes));
        // Adding zero turns -0 into +0, so that equal scores have equal bits.
        const HalfLanes narrow = __builtin_convertvector(wide, HalfLanes) + 0.0f;
        memcpy(out + i, &narrow, sizeof(HalfLanes));
      }
    }
    return 0;
  }
};

}  // namespace insight::cpu
