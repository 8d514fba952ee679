// A draw from Beta(a, b) that depends on (seed, draw, index) alone: every back end draws the same.
//
// Two gamma variates by squeeze and rejection, each kept as its logarithm so that tiny a and b
// cannot underflow. Uniforms come from SplitMix64, started at a hash of the three numbers.
//
// Domain: finite a, b > 0. Distribution: exact up to double rounding (Kolmogorov-Smirnov tested).
// Source: Marsaglia and Tsang 2000, "A simple method for generating gamma variables", with its
// section 6 for shapes below 1; normals by Marsaglia's polar method.
#pragma once

#include "../order.h"

namespace insight {

class UniformStream {
 public:
  INSIGHT_HD UniformStream(uint64_t key, int64_t index) : state_(tie_hash(key, index)) {}

  INSIGHT_HD double next() {  // in (0, 1)
    state_ += kGoldenGamma;
    return (static_cast<double>(mix(state_) >> 11) + 0.5) * 0x1p-53;
  }

 private:
  uint64_t state_;
};

// The stream key of one draw for a whole pool: another draw, other numbers everywhere.
INSIGHT_HD uint64_t draw_key(uint64_t seed, uint64_t draw) {
  return mix(hash_key(seed) + draw * kGoldenGamma);
}

INSIGHT_HD double normal_draw(UniformStream& uniform) {
  for (;;) {
    const double x = 2.0 * uniform.next() - 1.0, y = 2.0 * uniform.next() - 1.0;
    const double square = x * x + y * y;
    if (square < 1.0 && square > 0.0) return x * square_root(-2.0 * log(square) / square);
  }
}

// ln of a draw from Gamma(shape, 1).
INSIGHT_HD double log_gamma_draw(double shape, UniformStream& uniform) {
  const bool below_one = shape < 1.0;
  const double d = (below_one ? shape + 1.0 : shape) - 1.0 / 3.0;
  const double c = 1.0 / square_root(9.0 * d);
  for (;;) {
    const double x = normal_draw(uniform);
    const double t = 1.0 + c * x;
    if (t <= 0.0) continue;
    const double v = t * t * t, square = x * x, u = uniform.next();
    if (u < 1.0 - 0.0331 * (square * square) ||
        log(u) < 0.5 * square + d * (1.0 - v + log(v))) {
      const double log_draw = log(d) + log(v);
      return below_one ? log_draw + log(uniform.next()) / shape : log_draw;
    }
  }
}

struct BetaDraw {
  double value, complement;
};

INSIGHT_HD BetaDraw beta_draw(double a, double b, uint64_t key, int64_t index) {
  UniformStream uniform(key, index);
  const double log_x = log_gamma_draw(a, uniform);
  const double log_y = log_gamma_draw(b, uniform);
  const double odds = exp(smaller(larger(log_y - log_x, -700.0), 700.0));
  return {1.0 / (1.0 + odds), odds / (1.0 + odds)};
}

}  // namespace insight
