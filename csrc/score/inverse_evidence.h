// How little is known about a prompt.
//
//   1 / (1 + n),  n = a + b
//
// Domain: finite a, b > 0. Accuracy: float32 rounding of a double.
// Source: the INVERSE-EVIDENCE baseline of InSight (arXiv 2603.01907), which ranks by n alone.
#pragma once

#include "upper.h"

namespace insight {

struct InverseEvidence {
  static constexpr bool kPerIndex = false;
  static constexpr bool kBoundRanks = true;

  static InverseEvidence from(const double*, uint64_t) { return {}; }

  template <class Real>
  INSIGHT_HD Real operator()(Real a, Real b) const {
    return 1.0 / (1.0 + (a + b));
  }

  INSIGHT_HD float bound(float a, float b) const {
    return 1.0f / (1.0f + (a + b)) * 1.000001f + 1e-30f;
  }

  INSIGHT_HD float evidence_limit(float threshold) const {
    if (!(threshold > 1e-29f)) return kUnbounded;
    return static_cast<float>((1.0 / threshold * (1.0 + 1e-6) - 1.0) * (1.0 + 1e-6));
  }
};

}  // namespace insight
