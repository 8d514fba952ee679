// The prompts that a selection ranges over, as a sequence of places: the whole pool in order, or
// a list of prompts.
#pragma once

#include <algorithm>
#include <atomic>
#include <limits>
#include <vector>

#include "../request.h"
#include "kernels.h"

namespace insight::cpu {

using insight_kernels::kChunk;
using insight_kernels::kLanes;
using insight_kernels::kStrip;

// The first place at which something was wrong, agreed on by all threads.
class FirstFault {
 public:
  static constexpr int64_t kNone = std::numeric_limits<int64_t>::max();

  void note(int64_t place) {
    int64_t known = place_.load(std::memory_order_relaxed);
    while (place < known && !place_.compare_exchange_weak(known, place)) {
    }
  }
  int64_t place() const { return place_.load(std::memory_order_relaxed); }
  bool found() const { return place() != kNone; }

 private:
  std::atomic<int64_t> place_{kNone};
};

// Room for a chunk of a list, so that neighbouring places are neighbours in memory.
struct Gathered {
  float a[kChunk], b[kChunk];
  int64_t indices[kChunk];
};

// At most kChunk neighbouring places. `indices` is null where place and index are the same.
struct Chunk {
  const float* a;
  const float* b;
  const int64_t* indices;
  int64_t first;
  int count;

  int64_t index(int i) const { return indices ? indices[i] : first + i; }
};

// The first position among indices that is outside a pool of this size, or -1.
inline int64_t first_outside(const std::vector<int64_t>& indices, int64_t size) {
  for (size_t i = 0; i < indices.size(); ++i) {
    if (indices[i] < 0 || indices[i] >= size) return static_cast<int64_t>(i);
  }
  return -1;
}

class Candidates {
 public:
  Candidates(const Beliefs& beliefs, const Eligible& eligible)
      : beliefs_(beliefs), eligible_(eligible) {
    if (eligible.excluded == nullptr) return;
    // A copy, so that the indices that were checked are the ones that are used.
    excluded_.assign(eligible.excluded, eligible.excluded + eligible.excluded_size);
    bad_exclusion_ = first_outside(excluded_, beliefs.size);
    std::sort(excluded_.begin(), excluded_.end());
  }

  // The first position among the excluded that is outside the pool, or -1.
  int64_t bad_exclusion() const { return bad_exclusion_; }

  bool is_list() const { return eligible_.candidates != nullptr; }
  int64_t size() const { return is_list() ? eligible_.candidates_size : beliefs_.size; }
  int64_t index(int64_t place) const { return is_list() ? eligible_.candidates[place] : place; }
  bool contains(int64_t index) const { return index >= 0 && index < beliefs_.size; }
  const Beliefs& beliefs() const { return beliefs_; }

  // Whether some may not be eligible.
  bool is_restricted() const {
    return eligible_.candidate_mask || eligible_.exclusion_mask || !excluded_.empty();
  }
  bool is_eligible(int64_t index) const {
    if (eligible_.candidate_mask && !eligible_.candidate_mask[index]) return false;
    if (eligible_.exclusion_mask && eligible_.exclusion_mask[index]) return false;
    return excluded_.empty() || !std::binary_search(excluded_.begin(), excluded_.end(), index);
  }

  // Tells the processor that these places will be loaded soon.
  void prefetch(int64_t place, int count) const {
    if (is_list() || place + count > beliefs_.size) return;
    for (int i = 0; i < count; i += 16) {
      __builtin_prefetch(beliefs_.alpha + place + i);
      __builtin_prefetch(beliefs_.beta + place + i);
    }
  }

  // The chunk at places [place, place + count). That of a list is gathered: each index is read from
  // the caller's memory once, so that the one that was checked is the one that is used. An index
  // outside the pool is noted, and the chunk ends before it.
  Chunk load(int64_t place, int count, Gathered& gathered, FirstFault& bad_place) const {
    if (!is_list()) return {beliefs_.alpha + place, beliefs_.beta + place, nullptr, place, count};
    const int64_t* const listed = eligible_.candidates + place;
    for (int i = 0; i < count; ++i) {
      const int64_t index = __atomic_load_n(listed + i, __ATOMIC_RELAXED);
      if (!contains(index)) {
        bad_place.note(place + i);
        return {gathered.a, gathered.b, gathered.indices, place, i};
      }
      gathered.indices[i] = index;
      gathered.a[i] = beliefs_.alpha[index];
      gathered.b[i] = beliefs_.beta[index];
    }
    return {gathered.a, gathered.b, gathered.indices, place, count};
  }

 private:
  Beliefs beliefs_;
  Eligible eligible_;
  std::vector<int64_t> excluded_;
  int64_t bad_exclusion_ = -1;
};

}  // namespace insight::cpu
