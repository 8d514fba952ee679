// What K rollouts are expected to tell about a success rate: I_K, in nats.
#pragma once

#include "../portable.h"

namespace insight {

constexpr int kMaxRollouts = 512;  // P(0) >= 2^-512 below, far from underflow

// h(x) = x (psi(x + 1) - ln x) for x > 0, rising from 0 to 1/2.
//
// From 16 on the asymptotic series in 1/x, in which the logarithms have cancelled; below, psi is
// moved up by 8 and ln((x + 8) / x) stays. Accuracy: 2e-15 absolute.
// Source: Abramowitz and Stegun 6.3.18 (series), 6.3.6 (recurrence).
template <class Real>
INSIGHT_HD Real entropy_slope(Real x) {
  constexpr double kSwitch = 16.0;
  constexpr int kShift = 8;
  const Real small = smaller(x, broadcast<Real>(kSwitch));
  const auto is_small = x < kSwitch;
  const Real y = choose(is_small, small + double(kShift), x);
  const Real inverse = 1.0 / y;
  const Real w = inverse * inverse;
  Real series = broadcast<Real>(-1.0 / 12.0);  // -B_2j / (2j), j = 7 ... 1
  series = series * w + 691.0 / 32760.0;
  series = series * w - 1.0 / 132.0;
  series = series * w + 1.0 / 240.0;
  series = series * w - 1.0 / 252.0;
  series = series * w + 1.0 / 120.0;
  series = series * w - 1.0 / 12.0;
  // psi(y + 1) - ln y = 1 / (2y) + series / y^2, and y times that at once:
  const Real at_y = series * inverse + 0.5;
  Real numerator = Real{}, denominator = broadcast<Real>(1.0);  // sum of 1 / (x + j), j = 1 ... 8
  for (int j = 1; j <= kShift; ++j) {
    const Real term = small + double(j);
    numerator = numerator * term + denominator;
    denominator = denominator * term;
  }
  const Real moved = log1p(double(kShift) / small) - numerator / denominator + at_y * inverse;
  return choose(is_small, small * moved, at_y);
}

// I_K(a, b), the mutual information between the success rate phi ~ Beta(a, b) and the number of
// successes in K rollouts.
//
//   I_1 = (h(a) + h(b) - h(n)) / n,  n = a + b
//   I_K = K I_1 + A_K(n) - sum_s P(s) (A_s(a) + A_{K-s}(b)),  A_m(x) = sum_{j<m} ln(1 + j/x)
//
// with s Beta-binomial. I is symmetric; with b the larger one P(0) cannot underflow and
//   A_K(b) - A_K(n) = ln prod_j (1 + j a / (b (n + j))), one logarithm, and
//   A_s(a) + A_{K-s}(b) - A_K(b) grows from s to s + 1 by ln( (a + s) b / (a (b + K - s - 1)) ).
//
// Domain: finite a, b > 0; K in [1, kMaxRollouts].
// Accuracy: for a, b >= 0.5 relative error under 1e-9 (K <= 64); for smaller ones 1e-13 beside
// the bound ln(1 + K/n) / 2.
// Source: InSight (arXiv 2603.01907), eq. 13; the identities are derived in docs/kernel.md.
template <class Real>
INSIGHT_HD Real information(Real alpha, Real beta, int rollouts) {
  const Real a = smaller(alpha, beta), b = larger(alpha, beta), n = a + b;
  const Real one = (entropy_slope(a) + entropy_slope(b) - entropy_slope(n)) / n;
  Real probability = broadcast<Real>(1.0);  // P(0) = prod (b + j) / (n + j)
  Real excess = Real{};                     // prod (1 + j a / (b (n + j))) - 1
  const Real a_over_b = a / b, b_over_a = b / a;
  for (int j = 0; j < rollouts; ++j) {
    const Real inverse = 1.0 / (n + double(j));
    const Real y = double(j) * a_over_b * inverse;
    probability = probability * ((b + double(j)) * inverse);
    excess = excess + (y + excess * y);
  }
  Real difference = Real{};  // A_s(a) + A_{K-s}(b) - A_K(b)
  Real expected = Real{};
  for (int s = 0; s < rollouts; ++s) {
    const double left = rollouts - s - 1;
    const Real inverse = 1.0 / (b + left);
    const Real ratio = (b + double(s) * b_over_a) * inverse;
    const Real ratio_minus_one = (double(s) * b_over_a - left) * inverse;
    difference = difference + log_of_sum(ratio, ratio_minus_one);
    probability = probability * ((rollouts - s) / double(s + 1) * ((a + double(s)) * inverse));
    expected = expected + probability * difference;
  }
  return double(rollouts) * one - log1p(excess) - expected;
}

}  // namespace insight
