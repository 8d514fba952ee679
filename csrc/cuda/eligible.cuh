// Which prompts may be selected: lists become one bit a belief, masks are read where they lie.
#pragma once

#include "scratch.cuh"

namespace insight::cuda {

__device__ inline bool contains(const Arguments& in, int64_t index) {
  return index >= 0 && index < in.beliefs.size;
}

// Sets one bit for each listed prompt and finds the faults of the lists: an index outside the
// pool, and, since only the candidates' beliefs are looked at, an invalid one among them.
__device__ __noinline__ inline void mark_lists(const Arguments& in) {
  const Eligible& eligible = in.eligible;
  Progress& progress = *in.memory.progress;
  for (int64_t i = thread_in_grid(); i < eligible.candidates_size; i += threads_in_grid()) {
    const int64_t index = eligible.candidates[i];
    if (!contains(in, index)) {
      note_fault(progress.bad_candidate, i);
      continue;
    }
    if (!is_belief(in.beliefs.alpha[index], in.beliefs.beta[index])) {
      note_fault(progress.bad_belief, i);
    }
    atomicOr(&in.memory.listed[index / 32], 1u << (index % 32));
  }
  for (int64_t i = thread_in_grid(); i < eligible.excluded_size; i += threads_in_grid()) {
    const int64_t index = eligible.excluded[i];
    if (!contains(in, index)) {
      note_fault(progress.bad_exclusion, i);
    } else {
      atomicOr(&in.memory.excluded[index / 32], 1u << (index % 32));
    }
  }
}

__device__ inline bool has_lists(const Arguments& in) {
  return in.memory.listed || in.memory.excluded;
}

__device__ inline bool is_restricted(const Arguments& in) {
  return has_lists(in) || in.eligible.candidate_mask || in.eligible.exclusion_mask;
}

// Clears the bits e of `open` for which prompt first + e, first a multiple of 4, is not eligible.
__device__ __noinline__ inline unsigned restrict_four(const Arguments& in, int64_t first,
                                                      unsigned open) {
  const int64_t word = first / 32, bit = first % 32;
  if (in.memory.listed) open &= in.memory.listed[word] >> bit;
  if (in.memory.excluded) open &= ~(in.memory.excluded[word] >> bit);
  for (int e = 0; e < 4; ++e) {
    if (!(open >> e & 1)) continue;
    if (in.eligible.candidate_mask && !in.eligible.candidate_mask[first + e]) open &= ~(1u << e);
    if (in.eligible.exclusion_mask && in.eligible.exclusion_mask[first + e]) open &= ~(1u << e);
  }
  return open;
}

// Bit e is set if prompt first + e is in the pool and eligible, for e < 4.
__device__ inline unsigned four_eligible(const Arguments& in, int64_t first) {
  const int64_t left = in.beliefs.size - first;
  const unsigned open = left >= 4 ? 15u : left > 0 ? (1u << left) - 1u : 0u;
  return open && is_restricted(in) ? restrict_four(in, first, open) : open;
}

__device__ inline bool is_eligible(const Arguments& in, int64_t index) {
  return four_eligible(in, index / 4 * 4) >> (index % 4) & 1;
}

}  // namespace insight::cuda
