// Which prompts may be selected. A list of candidates is passed over instead of the pool, each of its
// members once; a list of exclusions becomes one bit a belief, which is looked up for those alone that
// might be selected; masks are read where they lie.
#pragma once

#include "scratch.cuh"

namespace insight::cuda {

__device__ inline bool contains(const Arguments& in, int64_t index) {
  return index >= 0 && index < in.beliefs.size;
}

// Sets `bit` of a belief's place. True if it was not set.
__device__ inline bool mark(uint32_t* bits, int64_t index) {
  const uint32_t bit = 1u << (index % 32);
  return !(atomicOr(&bits[index / 32], bit) & bit);
}

__device__ inline bool is_open(const Arguments& in, int64_t index) {
  if (in.eligible.candidate_mask && !in.eligible.candidate_mask[index]) return false;
  return !in.eligible.exclusion_mask || !in.eligible.exclusion_mask[index];
}
__device__ inline bool is_excluded(const Arguments& in, int64_t index) {
  return in.memory.excluded && in.memory.excluded[index / 32] >> (index % 32) & 1;
}
__device__ inline bool has_lists(const Arguments& in) {
  return in.memory.listed || in.memory.excluded;
}
__device__ inline bool has_masks(const Arguments& in) {
  return in.eligible.candidate_mask || in.eligible.exclusion_mask;
}

// Collects the members of the list of candidates, marks the excluded, and finds the faults of both: an
// index outside the pool, and, since only the candidates' beliefs are looked at, an invalid one among
// them. Each place is read once: another stream may change it.
__device__ __noinline__ inline void mark_lists(const Arguments& in) {
  const Eligible& eligible = in.eligible;
  Progress& progress = *in.memory.progress;
  for (int64_t row = thread_in_grid() - lane(); row < eligible.candidates_size;
       row += threads_in_grid()) {
    const int64_t i = row + lane(), index = i < eligible.candidates_size ? eligible.candidates[i] : 0;
    bool is_new = i < eligible.candidates_size;
    if (is_new && !contains(in, index)) {
      note_fault(progress.bad_candidate, i);
      is_new = false;
    }
    if (is_new && !is_belief(in.beliefs.alpha[index], in.beliefs.beta[index])) {
      note_fault(progress.bad_belief, i);
    }
    is_new = is_new && mark(in.memory.listed, index);
    const int64_t place = claim(is_new, &progress.members);
    if (is_new) in.memory.members[place] = index;
  }
  for (int64_t i = thread_in_grid(); i < eligible.excluded_size; i += threads_in_grid()) {
    const int64_t index = eligible.excluded[i];
    if (!contains(in, index)) {
      note_fault(progress.bad_exclusion, i);
    } else if (mark(in.memory.excluded, index) && !in.memory.listed && is_open(in, index)) {
      atomicAdd(&progress.excluded, 1ull);
    }
  }
}

// How many candidates there are, excluded ones too, and the i-th of them. Once the lists are marked.
__device__ inline int64_t candidate_count(const Arguments& in) {
  return in.memory.listed ? static_cast<int64_t>(in.memory.progress->members) : in.beliefs.size;
}
__device__ inline int64_t candidate(const Arguments& in, int64_t i) {
  return in.memory.listed ? in.memory.members[i] : i;
}

}  // namespace insight::cuda
