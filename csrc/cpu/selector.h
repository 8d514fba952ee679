// Exact selection in one streaming pass: a threshold from a sample, a cheap upper bound to pass
// over nearly every candidate, the reference score for the rest, and a cut that rises as better
// candidates are met. No N-sized array; docs/kernel.md has the argument for exactness.
#pragma once

#include <vector>

#include "cpu.h"
#include "scan.h"

namespace insight::cpu {

class Selector {
 public:
  // ArgumentError if a tuning number makes no sense. k is 1 to the pool's size.
  Selector(const Scorer& scorer, const Candidates& candidates, const Request& request,
           const Settings& settings);

  // The k best in no particular order, or all if fewer are eligible.
  Outcome select(std::vector<Ranked>& best) const;

 private:
  Ranked sampled_cut(KnownScores& known) const;
  int64_t sample_rank(double share) const;
  Ranked worst_of(const std::vector<int64_t>& some, KnownScores& known) const;
  Outcome pass(const Ranked& cut, const KnownScores& known, std::vector<Ranked>& best) const;

  const Scorer& scorer_;
  const Candidates& candidates_;
  const int64_t k_;
  const uint64_t key_;
  const Settings& settings_;
};

// Writes the best, in the requested order, unless there are too few. Index i is prompt first + i.
Outcome deliver(std::vector<Ranked>& best, const Request& request, int64_t first,
                const Result& result);

}  // namespace insight::cpu
