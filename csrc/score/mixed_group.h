// The probability that a group of K rollouts holds both a success and a failure, so that its
// rewards differ and GRPO learns from it.
//
//   1 - B(a + K, b) / B(a, b) - B(a, b + K) / B(a, b)
//     = 1 - prod_{j<K} (a + j) / (n + j) - prod_{j<K} (b + j) / (n + j)
//
// Domain: finite a, b > 0; rollouts in [1, kMaxRollouts]. Accuracy: 1e-13 absolute, in double.
// Source: eq. 15 of "MaPP: A Unified Marginalized Posterior-Predictive Framework for
// Data-Efficient RLVR" (Ren et al.).
#pragma once

#include "upper.h"

namespace insight {

struct MixedGroup {
  static constexpr bool kPerIndex = false;
  static constexpr bool kBoundRanks = false;

  int rollouts;

  static MixedGroup from(const double* parameters, uint64_t) {
    return {static_cast<int>(parameters[0])};
  }

  template <class Real>
  INSIGHT_HD Real operator()(Real a, Real b) const {
    const Real n = a + b;
    Real all_solved = broadcast<Real>(1.0), all_failed = broadcast<Real>(1.0);
    for (int j = 0; j < rollouts; ++j) {
      const Real inverse = 1.0 / (n + double(j));
      all_solved = all_solved * ((a + double(j)) * inverse);
      all_failed = all_failed * ((b + double(j)) * inverse);
    }
    return 1.0 - all_solved - all_failed;
  }

  // E[phi^K] >= p^K (Jensen), so the score is at most 1 - p^K - (1 - p)^K, p = 1 / (1 + b / a).
  INSIGHT_HD float bound(float a, float b) const {
    const float k = static_cast<float>(rollouts), ratio = b / a, inverse = a / b;
    const float p_to_k = rough_exp(-k * rough_log1p(ratio < 1e30f ? ratio : 1e30f));
    const float q_to_k = rough_exp(-k * rough_log1p(inverse < 1e30f ? inverse : 1e30f));
    return 1.0f - p_to_k - q_to_k + 6e-5f;  // both powers, on any back end
  }

  INSIGHT_HD float evidence_limit(float) const { return kUnbounded; }
};

}  // namespace insight
