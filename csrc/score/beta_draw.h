// A draw from Beta(a, b) that depends on (seed, draw, index) alone: every back end draws the same.
//
// Two gamma variates by squeeze and rejection, with what makes one of a shape below 1 kept as its
// logarithm, so that tiny a and b cannot underflow. Uniforms come from SplitMix64, started at a hash of
// the three numbers.
//
// Domain: finite a, b > 0. Distribution: exact up to double rounding (Kolmogorov-Smirnov tested).
// Source: Marsaglia and Tsang 2000, "A simple method for generating gamma variables", with its
// section 6 for shapes below 1; normals by Marsaglia's polar method.
#pragma once

#include "../order.h"

namespace insight {

template <class Real>
class UniformStream {
 public:
  INSIGHT_HD UniformStream(uint64_t key, Bits<Real> index) : state_(mix(index * kGoldenGamma + key)) {}

  // In (0, 1). Only where `taken` does the stream move on.
  INSIGHT_HD Real next(Mask<Real> taken) {
    const Bits<Real> moved = state_ + kGoldenGamma;
    state_ = choose(taken, moved, state_);
    return (whole<Real>(mix(moved) >> 11) + 0.5) * 0x1p-53;
  }

 private:
  Bits<Real> state_;
};

// The stream key of one draw for a whole pool: another draw, other numbers everywhere.
INSIGHT_HD uint64_t draw_key(uint64_t seed, uint64_t draw) {
  return mix(hash_key(seed) + draw * kGoldenGamma);
}

// Where `wanted`; anything elsewhere.
template <class Real>
INSIGHT_HD Real normal_draw(UniformStream<Real>& uniform, Mask<Real> wanted) {
  Real found = Real{}, found_square = broadcast<Real>(0.5);
  while (any(wanted)) {
    const Real x = 2.0 * uniform.next(wanted) - 1.0, y = 2.0 * uniform.next(wanted) - 1.0;
    const Real square = x * x + y * y;
    const Mask<Real> good = wanted & (square < 1.0) & (square > 0.0);
    found = choose(good, x, found);
    found_square = choose(good, square, found_square);
    wanted = without(wanted, good);
  }
  return found * square_root(-2.0 * log(found_square) / found_square);
}

// A draw from Gamma(shape, 1) is value e^log_factor.
template <class Real>
struct GammaDraw {
  Real value, log_factor;
};

template <class Real>
INSIGHT_HD GammaDraw<Real> gamma_draw(Real shape, UniformStream<Real>& uniform) {
  const Mask<Real> below_one = shape < 1.0;
  const Real d = choose(below_one, shape + 1.0, shape) - 1.0 / 3.0;
  const Real c = 1.0 / square_root(9.0 * d);
  Real draw = broadcast<Real>(1.0);
  Mask<Real> wanted = d > 0.0;  // everywhere
  while (any(wanted)) {
    const Real x = normal_draw(uniform, wanted);
    const Real t = 1.0 + c * x;
    const Mask<Real> tried = wanted & (t > 0.0);
    const Real v = t * t * t, square = x * x, u = uniform.next(tried);
    Mask<Real> good = tried & (u < 1.0 - 0.0331 * (square * square));
    if (any(without(tried, good))) {
      good = good | (tried & (log(u) < 0.5 * square + d * (1.0 - v + log(v))));
    }
    draw = choose(good, v, draw);
    wanted = without(wanted, good);
  }
  if (!any(below_one)) return {d * draw, Real{}};
  return {d * draw, choose(below_one, log(uniform.next(below_one)) / shape, Real{})};
}

template <class Real>
struct BetaDraw {
  Real value, complement;
};

template <class Real>
INSIGHT_HD BetaDraw<Real> beta_draw(Real a, Real b, uint64_t key, Bits<Real> index) {
  UniformStream<Real> uniform(key, index);
  const GammaDraw<Real> x = gamma_draw(a, uniform), y = gamma_draw(b, uniform);
  Real odds = y.value / x.value;
  const Mask<Real> has_factor = (a < 1.0) | (b < 1.0);
  if (any(has_factor)) {
    const Real most = broadcast<Real>(700.0);
    const Real factor = exp(smaller(larger(y.log_factor - x.log_factor, -most), most));
    odds = choose(has_factor, smaller(odds * factor, broadcast<Real>(1e300)), odds);
  }
  return {1.0 / (1.0 + odds), odds / (1.0 + odds)};
}

}  // namespace insight
