// How near the expected success rate lies to a target.
//
//   -|p - target|,  p = a / (a + b)
//
// Domain: finite a, b > 0; target in [0, 1]. Accuracy: float32 rounding of a double.
// Source: the EXPECTED-DIFFICULTY baseline of InSight (arXiv 2603.01907), target 1/2.
#pragma once

#include "upper.h"

namespace insight {

struct ExpectedDifficulty {
  static constexpr bool kPerIndex = false;
  static constexpr bool kBoundRanks = true;

  double target;

  static ExpectedDifficulty from(const double* parameters, uint64_t) {
    return {parameters[0]};
  }

  template <class Real>
  INSIGHT_HD Real operator()(Real a, Real b) const {
    const Real distance = a / (a + b) - target;
    return smaller(distance, -distance);
  }

  // p in float32 is right to 2e-7 where a + b is an ordinary number.
  INSIGHT_HD float bound(float a, float b) const {
    const float n = a + b;
    const float distance = a / n - static_cast<float>(target);
    const float limit = (distance < 0.0f ? distance : -distance) + 1e-6f;
    return is_ordinary(n) ? limit : kUnbounded;
  }

  INSIGHT_HD float evidence_limit(float) const { return kUnbounded; }
};

}  // namespace insight
