// The bounds of a sample's candidates, and which of these are the most promising.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "candidates.h"

namespace insight::cpu {

class Sample {
 public:
  explicit Sample(int64_t strips) {
    bounds_.reserve(static_cast<size_t>(strips * kStrip));
    strips_.reserve(static_cast<size_t>(strips));
  }

  // The eligible ones of at most kStrip places, with their bounds (NaN: unbounded).
  void add(const Chunk& chunk, const float* bounds, const Candidates& candidates) {
    const size_t start = bounds_.size();
    bounds_.resize(start + static_cast<size_t>(chunk.count));  // less than kStrip in the last alone
    int32_t* const own = bounds_.data() + start;
    for (int i = 0; i < chunk.count; ++i) own[i] = rising(bounds[i]);
    if (chunk.indices) {
      for (int i = 0; i < chunk.count; ++i) indices_.push_back(chunk.indices[i]);
      indices_.resize(bounds_.size());
    }
    strips_.push_back(chunk.first);
    if (!candidates.is_restricted()) return;
    for (int i = 0; i < chunk.count; ++i) {
      if (!candidates.is_eligible(chunk.index(i))) own[i] = kNobody;
    }
  }

  // The indices of the `rank` that come first by bound and then by hash, and of a few more. False if
  // there are fewer.
  bool most_promising(int64_t rank, uint64_t key, std::vector<int64_t>& chosen) const {
    const int64_t few = rank + rank / 8 + 8;
    const int32_t least = threshold(rank, few);
    const int64_t found = count(least);
    if (found < rank) return false;
    // More than a few of them share one bound: the hash decides, which is evenly distributed.
    const int64_t tied = found - count(int64_t{least} + 1);
    const double share = double(rank - (found - tied)) / double(tied);
    const double slack = 4.0 * std::sqrt(share * double(tied)) + 4.0;
    const double kept = found <= few ? 1.0 : std::min(1.0, share + slack / double(tied));
    const uint64_t least_hash = kept < 1.0 ? static_cast<uint64_t>((1.0 - kept) * 0x1p64) : 0;
    // Without branches where chance decides what stays.
    chosen.resize(static_cast<size_t>(found) + 1);
    int64_t* place = chosen.data();
    for (size_t start = 0; start < bounds_.size(); start += kStrip) {
      const size_t end = std::min(bounds_.size(), start + kStrip);
      int some = 0;
      for (size_t i = start; i < end; ++i) some |= bounds_[i] >= least;
      for (size_t i = start; some && i < end; ++i) {
        *place = static_cast<int64_t>(i);
        place += bounds_[i] >= least;
      }
    }
    size_t size = 0;
    for (size_t i = 0; i < static_cast<size_t>(found); ++i) {
      const size_t at = static_cast<size_t>(chosen[i]);
      chosen[size] = index_of(at);
      const bool is_tied = bounds_[at] == least, is_late = tie_hash(key, chosen[size]) < least_hash;
      size += !(is_tied & is_late);
    }
    chosen.resize(size);
    if (!indices_.empty()) {  // a list may name one twice
      std::sort(chosen.begin(), chosen.end());
      chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
    }
    return static_cast<int64_t>(chosen.size()) >= rank;
  }

 private:
  static constexpr int32_t kNobody = std::numeric_limits<int32_t>::min();
  static constexpr int32_t kUnbounded = std::numeric_limits<int32_t>::max() - 1;

  // The bits of a float as an integer that rises with it; the largest for NaN.
  static int32_t rising(float x) {
    const int32_t bits = bit_cast<int32_t>(x);
    const int32_t value = bits ^ (bits >> 31 & 0x7fffffff);
    return x == x ? value : kUnbounded;
  }

  int64_t index_of(size_t i) const {
    return indices_.empty() ? strips_[i / kStrip] + static_cast<int64_t>(i % kStrip) : indices_[i];
  }

  int64_t count(int64_t least) const {
    const int32_t below = static_cast<int32_t>(least - 1);  // never the smallest: that is kNobody
    int32_t some = 0;
    for (const int32_t bound : bounds_) some += bound > below;
    return some;
  }

  // One that at least `rank` bounds reach, and at most `few` where there is such a one: otherwise the
  // largest that `rank` reach. Tried in turn: the middle of what is left, and a bound within it, since
  // many may share one.
  int32_t threshold(int64_t rank, int64_t few) const {
    int32_t least = kUnbounded, most = kNobody;
    for (const int32_t bound : bounds_) {
      least = std::min(least, bound == kNobody ? kUnbounded : bound);
      most = std::max(most, bound);
    }
    int64_t low = least, high = int64_t{most} + 1;
    for (size_t turn = 0, next = 0; high - low > 1; ++turn) {
      int64_t middle = low + (high - low) / 2;
      if (turn % 2 == 1) {
        while (next < bounds_.size() && (bounds_[next] <= low || bounds_[next] >= high)) ++next;
        if (next < bounds_.size()) middle = bounds_[next];
      }
      const int64_t found = count(middle);
      (found >= rank ? low : high) = middle;
      if (found >= rank && (found <= few || count(middle + 1) < rank)) break;
    }
    return static_cast<int32_t>(low);
  }

  std::vector<int32_t> bounds_;
  std::vector<int64_t> strips_;   // the first place of each
  std::vector<int64_t> indices_;  // of a list
};

}  // namespace insight::cpu
