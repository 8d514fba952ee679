// How near a draw of the success rate lies to a target.
//
//   -|phi - target|,  phi ~ Beta(a, b)
//
// Domain: finite a, b > 0; target in [0, 1]. Accuracy: float32 rounding; the draw's is beta_draw's.
// Source: MoPPS (arXiv 2507.04632), whose square orders alike.
#pragma once

#include "beta_draw.h"
#include "upper.h"

namespace insight {

struct Thompson {
  static constexpr bool kPerIndex = true;
  static constexpr bool kBoundRanks = false;

  double target;
  uint64_t key;

  static Thompson from(const double* parameters, uint64_t key) {
    return {parameters[0], key};
  }

  template <class Real>
  INSIGHT_HD Real operator()(Real a, Real b, Bits<Real> index) const {
    const Real distance = beta_draw(a, b, key, index).value - target;
    return smaller(distance, -distance);
  }

  // Any belief may be drawn at the target: every candidate must be drawn.
  INSIGHT_HD float bound(float, float) const { return 0.0f; }
  INSIGHT_HD float evidence_limit(float) const { return kUnbounded; }
};

}  // namespace insight
