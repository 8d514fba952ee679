// What a selection will do, decided on the host from sizes alone, and where its memory goes.
#pragma once

#include <algorithm>
#include <cmath>

#include "cuda.h"
#include "standing.h"

namespace insight::cuda {

using Digit = Digits<Tuning::kDigitBits>;

struct Plan {
  int sample_size = 0;   // kSamples times 1 to 32, a power of two; 0: no sample, all eligible survive
  int sample_rank = 0;   // the threshold is the worst of so many that promise most in the sample
  int64_t capacity = 0;  // survivors that there is room for
};

// Of the beliefs, or of the list of candidates, in which some may repeat.
inline int64_t most_candidates(const Request& request) {
  const insight_subset& listed = request.candidates;
  return listed.form == INSIGHT_LIST ? std::min(listed.size, request.beliefs.size) : request.beliefs.size;
}

// The k best of N hold about k S / N of a sample of S. The rank lies so far above that number that
// fewer than k survive once in 1e7 calls or less.
inline Plan make_plan(const Request& request, const Tuning& tuning) {
  Plan plan;
  const int64_t size = most_candidates(request), k = request.k;
  plan.capacity = size;
  if (size > std::max(tuning.unsampled, int64_t{Tuning::kSamples})) {
    const double wanted = std::min({double(size) / double(tuning.sample_share),
                                    double(tuning.sample_most),
                                    double(size) / double(k) * double(tuning.sample_expected)});
    plan.sample_size = Tuning::kSamples;
    while (plan.sample_size < 32 * Tuning::kSamples && plan.sample_size < wanted) plan.sample_size *= 2;
    const double share = double(plan.sample_size) / double(size);
    const double expected = double(k) * share;
    const double rank = std::ceil(expected + 5.0 * std::sqrt(expected)) + 6.0;
    plan.sample_rank = static_cast<int>(tuning.sample_rank > 0 ? double(tuning.sample_rank) : rank);
    const double survivors = std::ceil(rank / share) * double(tuning.capacity_factor);
    if (survivors < double(size)) {
      plan.capacity = std::min(size, std::max(tuning.least_capacity, static_cast<int64_t>(survivors)));
    }
    if (plan.sample_rank >= Tuning::kSamples) plan.sample_size = 0;  // it would spare nothing
  }
  if (tuning.capacity > 0) plan.capacity = tuning.capacity;
  plan.capacity = std::max(plan.capacity, k + Tuning::kRoom);
  return plan;
}

// Counters that start at zero. A fault is the complement of the first place at which it was
// found, so that zero says "none" and the first place is the largest fault.
struct Progress {
  Standing threshold;            // the sample's candidate at the cut,
  float cut_a, cut_b;            //   its belief,
  float evidence_limit;          //   and that of its score
  unsigned long long bad_belief, bad_candidate, bad_exclusion;
  unsigned long long members;    // of the list of candidates, each once
  unsigned long long excluded;   // by a list, from a pool whose candidates are not listed
  unsigned long long eligible;   // counted only where candidates are listed or there is a mask
  unsigned long long survivors;  // of the threshold
  unsigned sampled, scanned;     // blocks that have done so
};

struct Workspace {
  Progress* progress;  // these must be zero at the start:
  uint32_t* listed;    //   a bit for each belief, or null
  uint32_t* excluded;  //   likewise
  int64_t* members;    // these need not be: of the list
  Standing* samples;
  Standing* survivors; //   plan.capacity, or the best samples
  Standing* best;      //   k of the survivors
  size_t zeroed, bytes;

  Workspace(void* memory, const Request& request, const Plan& plan) {
    const int64_t size = request.beliefs.size;
    const bool lists = request.candidates.form == INSIGHT_LIST;
    const bool excludes = request.exclude.form == INSIGHT_LIST;
    const uintptr_t start = reinterpret_cast<uintptr_t>(memory);
    uintptr_t next = start;
    const auto place = [&](auto*& pointer, int64_t count) {
      pointer = reinterpret_cast<std::decay_t<decltype(pointer)>>(next);
      const size_t size_in_bytes = static_cast<size_t>(count) * sizeof(*pointer);
      next += (size_in_bytes + 15) / 16 * 16;
    };
    const int64_t words = (size + 31) / 32;
    place(progress, 1);
    place(listed, lists ? words : 0);
    place(excluded, excludes ? words : 0);
    zeroed = next - start;
    place(members, lists ? request.candidates.size : 0);
    place(samples, Tuning::kSamples);
    place(survivors, std::max(plan.capacity, int64_t{Tuning::kSamples}));
    place(best, request.k);
    bytes = next - start;
    if (!lists) listed = nullptr;
    if (!excludes) excluded = nullptr;
  }
};

}  // namespace insight::cuda
