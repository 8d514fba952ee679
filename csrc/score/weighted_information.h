// InSight's score: how much a group of rollouts would tell, weighted by how well the prompt's
// difficulty suits learning.
//
//   A = w(p) I_K,  w(p) = p (1 - p) exp(-eta (p - mu)^2),  p = a / (a + b)
//
// Domain: finite a, b > 0; rollouts in [1, kMaxRollouts]; eta in [0, 1e6]; mu in [0, 1].
// Accuracy: float32 rounding of a double that is right to 1e-9 for a, b >= 0.5.
// Source: InSight (arXiv 2603.01907), eq. 13, 15, 16 (the mu = 3.0 of its appendix is a misprint).
#pragma once

#include "beta_draw.h"
#include "information.h"
#include "upper.h"

namespace insight {

struct Weight {
  double eta, mu;

  template <class Real>
  INSIGHT_HD Real operator()(Real p, Real complement) const {
    const Real distance = p - mu;
    return p * complement * exp(-eta * (distance * distance));
  }
};

// I_K <= ln(1 + K / (n + d)) / 2 with d(n) = 1 / (3 n + 4 / K). With d = 0 that is known; this d is
// below the slack that is left at p = 1/2, where it is least (found by computation for K up to 512
// and n from 1e-8 to 1e8, and tested: tests/insight_ext/test_scores.py).
template <class Real>
INSIGHT_HD Real evidence_slack(Real n, Real rollouts) {
  return 1 / (3 * n + 4 / rollouts);
}

INSIGHT_HD float information_limit(float n, float rollouts) {
  return 0.5f * rough_log1p(rollouts / (n + evidence_slack(n, rollouts)));
}

// Without kWeighted the score is I_K alone, without kInformed w(p) alone (the paper's ablations).
template <bool kWeighted, bool kInformed>
struct WeightedInformationOf {
  static constexpr bool kPerIndex = false;
  static constexpr bool kBoundRanks = true;

  int rollouts;
  Weight weight;
  float margin;         // what the bound's rounding may lack, as a factor
  double weight_limit;  // at least max w

  WeightedInformationOf(int rollouts, double eta, double mu)
      : rollouts(rollouts), weight{eta, mu} {
    // A relative error of 3e-7 in p moves eta (p - mu)^2 by at most 1e-6 eta.
    margin = static_cast<float>(exp(smaller(4e-5 + 1e-6 * eta, 80.0)));
    // w rises below min(mu, 1/2) and falls above max(mu, 1/2); between, its log is concave.
    double low = smaller(mu, 0.5), high = larger(mu, 0.5);
    for (int i = 0; i < 40; ++i) {
      const double p = 0.5 * (low + high);
      const bool rising = 1.0 - 2.0 * p > 2.0 * eta * (p - mu) * p * (1.0 - p);
      (rising ? low : high) = p;
    }
    const double nearest = mu < 0.5 ? low : high;  // the end with the smaller (p - mu)^2
    weight_limit = kWeighted ? high * (1.0 - low) * exp(-eta * (nearest - mu) * (nearest - mu))
                             : 1.0;
    weight_limit *= 1.0 + 1e-6;
  }

  static WeightedInformationOf from(const double* p, uint64_t) {
    return {static_cast<int>(p[0]), p[1], p[2]};
  }

  template <class Real>
  INSIGHT_HD Real operator()(Real a, Real b) const {
    Real score = broadcast<Real>(1.0);
    if constexpr (kInformed) score = information(a, b, rollouts);
    if constexpr (kWeighted) score = score * weight(a / (a + b), b / (a + b));
    return score;
  }

  // The last term covers what float32 rounds to nothing.
  INSIGHT_HD float bound(float a, float b) const {
    const float n = a + b, inverse = 1.0f / n;
    float limit = margin;
    if constexpr (kInformed) limit *= information_limit(n, static_cast<float>(rollouts));
    if constexpr (kWeighted) {
      const float p = a * inverse, complement = b * inverse;
      const float distance = p - static_cast<float>(weight.mu);
      limit *= p * complement * rough_exp(-static_cast<float>(weight.eta) * (distance * distance));
    }
    return is_ordinary(n) ? limit + 1e-30f : kUnbounded;
  }

  // max w * ln(1 + K / (n + d(n))) / 2 >= threshold, solved for n + d(n) = m. As d falls,
  // n <= m - d(m); e^x - 1 >= x serves where x is tiny.
  INSIGHT_HD float evidence_limit(float threshold) const {
    if (!kInformed || !(threshold > 1e-29f)) return kUnbounded;
    const double x = smaller(2.0 * threshold / weight_limit, 50.0);
    const double growth = x < 1e-4 ? x : exp(x) - 1.0;
    const double sum = rollouts / growth * (1.0 + 1e-5);
    return static_cast<float>((sum - evidence_slack(sum, double(rollouts))) * (1.0 + 1e-6));
  }
};

// The paper's third ablation: w at a draw of the success rate instead of at its mean.
struct DrawnWeightInformation {
  static constexpr bool kPerIndex = true;
  static constexpr bool kBoundRanks = false;

  WeightedInformationOf<true, true> mean;
  uint64_t key;

  static DrawnWeightInformation from(const double* p, uint64_t key) {
    return {WeightedInformationOf<true, true>::from(p, key), key};
  }

  template <class Real>
  INSIGHT_HD Real operator()(Real a, Real b, Bits<Real> index) const {
    const BetaDraw<Real> phi = beta_draw(a, b, key, index);
    return mean.weight(phi.value, phi.complement) * information(a, b, mean.rollouts);
  }

  INSIGHT_HD float bound(float a, float b) const {
    const float n = a + b;
    const float limit = mean.margin * static_cast<float>(mean.weight_limit) *
                        information_limit(n, static_cast<float>(mean.rollouts));
    return is_ordinary(n) ? limit + 1e-30f : kUnbounded;
  }

  INSIGHT_HD float evidence_limit(float threshold) const { return mean.evidence_limit(threshold); }
};

using WeightedInformation = WeightedInformationOf<true, true>;
using WeightAlone = WeightedInformationOf<true, false>;
using InformationAlone = WeightedInformationOf<false, true>;

}  // namespace insight
