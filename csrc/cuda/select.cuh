// The selection, as device functions for the kernels of select.cu. Each kernel begins when the one before
// has ended, and what needs all blocks is done by the last one: no thread ever waits for another block.
#pragma once

#include "sample.cuh"
#include "scan.cuh"
#include "sort.cuh"

namespace insight::cuda {

// The threshold that survivors pass.
__device__ inline Standing threshold_of(const Arguments& in) {
  return in.plan.sample_size ? in.memory.progress->threshold : kLowest;
}

// Passes over all candidates once.
__device__ inline void scan_pool(const Arguments& in, Scratch& scratch) {
  Scan(in, scratch, threshold_of(in), true, &in.memory.progress->survivors).visit_all();
}

// What was found to be wrong, if anything.
__device__ inline Outcome verdict(const Arguments& in) {
  const Progress& progress = *in.memory.progress;
  if (progress.bad_exclusion) return {INSIGHT_BAD_EXCLUSION, first_fault(progress.bad_exclusion)};
  if (progress.bad_candidate > progress.bad_belief) {
    return {INSIGHT_BAD_CANDIDATE, first_fault(progress.bad_candidate)};
  }
  if (progress.bad_belief) {
    const int64_t place = first_fault(progress.bad_belief);
    if (!in.memory.listed) return {INSIGHT_BAD_BELIEF, place};
    const int64_t index = in.eligible.candidates[place];  // again, and it may have changed since
    if (!contains(in, index)) return {INSIGHT_BAD_CANDIDATE, place};
    return {INSIGHT_BAD_BELIEF, index};
  }
  const bool counted = in.memory.listed || has_masks(in);
  const int64_t eligible = (counted ? static_cast<int64_t>(progress.eligible) : in.beliefs.size) -
                           static_cast<int64_t>(progress.excluded);
  if (eligible < in.k) return {INSIGHT_TOO_FEW_ELIGIBLE, eligible < 0 ? 0 : eligible};  // masks may change
  return {INSIGHT_DONE, 0};
}

// Where the sample misled, one block passes over the candidates again, by rows. Whenever the next row
// might find no room, all survivors but the k best are dropped, and the threshold rises. It is slow, but
// rare enough not to matter. Leaves the best in memory.best; returns how many there are, k at most.
__device__ __noinline__ inline int64_t select_again(const Arguments& in, Scratch& scratch,
                                                    Standing threshold) {
  const Workspace& memory = in.memory;
  const int64_t count = candidate_count(in);
  int64_t kept = 0;
  for (int64_t row = 0; row < count;) {
    if (threadIdx.x == 0) scratch.kept = static_cast<unsigned long long>(kept);
    __syncthreads();
    Scan scan(in, scratch, threshold, false, &scratch.kept);
    do {
      scan.visit_row(row + threadIdx.x / kWarp * kWarp, count);
      row += Tuning::kThreads;
      __syncthreads();
      kept = static_cast<int64_t>(scratch.kept);
      __syncthreads();
    } while (row < count && kept + Tuning::kRoom <= in.plan.capacity);
    scan.finish();
    __syncthreads();
    kept = static_cast<int64_t>(scratch.kept);
    const Standing lowest = take_best(memory.survivors, kept, in.k, memory.best, scratch.radix);
    if (lowest > threshold) threshold = lowest;
    if (kept > in.k) kept = in.k;
    for (int64_t i = threadIdx.x; i < kept; i += Tuning::kThreads) memory.survivors[i] = memory.best[i];
  }
  return kept;
}

// The length of the sorted runs that a pass of the sort merges.
INSIGHT_HD int64_t run_of(int pass) { return int64_t{1} << (Tuning::kRunBits * pass); }

// The i-th item's part in a pass of the sort of memory.best, by turns from there to memory.survivors and
// back. The last pass writes the answer.
__device__ inline void sort_item(const Arguments& in, int pass, int64_t i) {
  const Standing* const from = pass % 2 ? in.memory.survivors : in.memory.best;
  Standing* const into = pass % 2 ? in.memory.best : in.memory.survivors;
  const Standing item = from[i];
  const int64_t place = merged_place(from, in.k, run_of(pass), i);
  if (run_of(pass + 1) < in.k) {
    into[place] = item;
  } else if (in.sorted) {
    in.indices[place] = in.beliefs.first + index_of(in.key, hash_of(item));
    in.scores[place] = score_of(item);
  } else {
    in.indices[place] = in.beliefs.first + static_cast<int64_t>(~static_cast<uint64_t>(item >> 32));
    in.scores[place] = from_rising(static_cast<uint32_t>(item));
  }
}

// Leaves the k best in memory.best, or selects nothing and says why. Up to kThreads are sorted at once.
__device__ inline void conclude(const Arguments& in, Scratch& scratch) {
  const Workspace& memory = in.memory;
  Outcome outcome = verdict(in);
  if (outcome.code == INSIGHT_DONE) {
    const int64_t survivors = static_cast<int64_t>(memory.progress->survivors);
    if (survivors >= in.k && survivors <= in.plan.capacity) {
      take_best(memory.survivors, survivors, in.k, memory.best, scratch.radix);
    } else {
      const Standing threshold = survivors < in.k ? kLowest : threshold_of(in);
      const int64_t found = select_again(in, scratch, threshold);
      if (found < in.k) outcome = {INSIGHT_CHANGED, found};
    }
  }
  if (threadIdx.x == 0) *in.outcome = outcome;
  for (int64_t i = threadIdx.x; i < in.k; i += Tuning::kThreads) {
    if (outcome.code != INSIGHT_DONE) {
      in.indices[i] = -1;
      in.scores[i] = bit_cast<float>(0x7fc00000u);
    } else if (!in.sorted) {
      memory.best[i] = by_index(memory.best[i], in.key);
    }
  }
  if (outcome.code != INSIGHT_DONE || in.k > Tuning::kThreads) return;
  for (int pass = 0; pass == 0 || run_of(pass) < in.k; ++pass) {
    __syncthreads();
    if (threadIdx.x < in.k) sort_item(in, pass, threadIdx.x);
  }
}

}  // namespace insight::cuda
