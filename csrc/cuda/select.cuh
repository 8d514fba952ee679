// The selection as one cooperative kernel: every decision is made on the device, so the host
// neither waits nor launches what is not needed. The usual way has two waits for the grid.
//
// Rule: between two waits for the grid no thread looks at a field of Progress that another thread
// may write there. All threads decide alike, or some would wait for others that have returned.
#pragma once

#include "radix.cuh"
#include "sample.cuh"

namespace insight::cuda {

__device__ inline void conclude(const Arguments& in, int64_t code, int64_t where) {
  if (thread_in_grid() == 0) {
    in.outcome->code = code;
    in.outcome->where = where;
  }
  if (code == INSIGHT_DONE) return;
  for (int64_t i = thread_in_grid(); i < in.k; i += threads_in_grid()) {
    in.indices[i] = -1;
    in.scores[i] = bit_cast<float>(0x7fc00000u);
  }
}

// What mark_lists found: the faults of the lists and, where candidates are listed, of their
// beliefs. False if there was one, which then is concluded.
__device__ inline bool lists_are_sound(const Arguments& in) {
  const Progress& progress = *in.memory.progress;
  if (progress.bad_exclusion) {
    conclude(in, INSIGHT_BAD_EXCLUSION, first_fault(progress.bad_exclusion));
    return false;
  }
  if (!in.memory.listed) return true;  // bad_belief is the scan's, which may have begun elsewhere
  if (progress.bad_candidate > progress.bad_belief) {
    conclude(in, INSIGHT_BAD_CANDIDATE, first_fault(progress.bad_candidate));
    return false;
  }
  if (progress.bad_belief) {
    // The list is read again, and another stream may have changed it since.
    const int64_t place = first_fault(progress.bad_belief), index = in.eligible.candidates[place];
    const bool inside = contains(in, index);
    conclude(in, inside ? INSIGHT_BAD_BELIEF : INSIGHT_BAD_CANDIDATE, inside ? index : place);
    return false;
  }
  return true;
}

// What the scan found: an invalid belief, or too few that are eligible.
__device__ inline bool pool_is_sound(const Arguments& in) {
  const Progress& progress = *in.memory.progress;
  if (!in.memory.listed && progress.bad_belief) {
    conclude(in, INSIGHT_BAD_BELIEF, first_fault(progress.bad_belief));
    return false;
  }
  const bool counted = in.memory.listed || has_masks(in);
  const int64_t eligible = (counted ? static_cast<int64_t>(progress.eligible) : in.beliefs.size) -
                           static_cast<int64_t>(progress.excluded);
  if (eligible < in.k) {
    conclude(in, INSIGHT_TOO_FEW_ELIGIBLE, eligible < 0 ? 0 : eligible);  // a mask may have changed
    return false;
  }
  return true;
}

__device__ inline void write_selected(const Arguments& in, int64_t place, Standing item) {
  int64_t* const index = in.indices + place;
  if (in.sorted) {
    *index = in.beliefs.first + index_of(in.key, hash_of(item));
    in.scores[place] = score_of(item);
  } else {
    *index = in.beliefs.first + static_cast<int64_t>(~static_cast<uint64_t>(item >> 32));
    in.scores[place] = from_rising(static_cast<uint32_t>(item));
  }
}

// One block selects and sorts in shared memory.
__device__ __noinline__ inline void finish_in_block(const Arguments& in, int64_t count, Standing* shared) {
  for (int64_t i = threadIdx.x; i < count; i += Tuning::kThreads) {
    shared[i] = in.memory.survivors[i];
  }
  sort_block(shared, count);
  if (!in.sorted) {
    for (int64_t i = threadIdx.x; i < in.k; i += Tuning::kThreads) {
      shared[i] = by_index(shared[i], in.key);
    }
    sort_block(shared, in.k);
  }
  for (int64_t i = threadIdx.x; i < in.k; i += Tuning::kThreads) write_selected(in, i, shared[i]);
}

__device__ __noinline__ inline void finish_in_grid(const Arguments& in, int64_t count, Standing floor,
                               BlockScratch& scratch, RadixSelection& radix) {
  Standing* const survivors = in.memory.survivors;
  Standing threshold = floor;
  if (count > in.k) {
    radix.begin(in.k, floor);
    do {
      const Sink sink = radix.open(scratch.scan.histogram);
      for (int64_t i = thread_in_grid(); i < count; i += threads_in_grid()) {
        sink.tally(true, survivors[i]);
      }
    } while (!radix.close(scratch.scan.histogram, in.memory));
    threshold = radix.lowest();
  }
  const Sink chosen{threshold, in.memory.chosen, in.k, &in.memory.progress->chosen, nullptr, 0};
  const int64_t rounds = (count + threads_in_grid() - 1) / threads_in_grid();
  for (int64_t round = 0; round < rounds; ++round) {
    const int64_t i = round * threads_in_grid() + thread_in_grid();
    const Standing item = i < count ? survivors[i] : kNobody;
    const bool has = i < count && item >= threshold;
    chosen.append(has, in.sorted ? item : by_index(item, in.key));
  }
  wait_for_grid();
  const Standing* const sorted =
      sort_grid(in.memory.chosen, survivors, in.k, scratch.sorting);
  for (int64_t i = thread_in_grid(); i < in.k; i += threads_in_grid()) {
    write_selected(in, i, sorted[i]);
  }
}

__device__ inline void select_body(const Arguments& in, BlockScratch& scratch, RadixSelection& radix) {
  Progress& progress = *in.memory.progress;
  if (has_lists(in)) {
    mark_lists(in);
    wait_for_grid();
    if (!lists_are_sound(in)) return;
  }

  Standing threshold = kLowest;
  if (in.plan.sample_per_group) {
    take_sample(in, scratch.sorting);
    wait_for_grid();
    threshold = sampled_threshold(in, scratch.scan.histogram, radix);
  }
  // Usually one round. If the sample misled, the exact threshold is found digit by digit, which
  // scores the pool again for each, and one more round collects what passes it.
  enum { kSampled, kCounting, kExact } stage = kSampled;
  int64_t count = in.k;
  for (;;) {
    Sink sink{threshold,         in.memory.survivors,
              in.plan.capacity,  stage == kSampled ? &progress.survivors : &progress.kept,
              nullptr,           0};
    if (stage == kCounting) sink = radix.open(scratch.scan.histogram);
    Scan(in, scratch.scan.warps[threadIdx.x / kWarp], sink).visit(stage == kSampled);
    if (stage == kCounting) {
      if (radix.close(scratch.scan.histogram, in.memory)) stage = kExact;
      threshold = radix.lowest();
      continue;
    }
    wait_for_grid();
    if (stage == kExact) {
      const int64_t kept = static_cast<int64_t>(progress.kept);
      if (kept < in.k) return conclude(in, INSIGHT_CHANGED, kept);
      break;
    }
    if (!pool_is_sound(in)) return;
    const int64_t survivors = static_cast<int64_t>(progress.survivors);
    if (survivors >= in.k && survivors <= in.plan.capacity) {
      count = survivors;
      break;
    }
    radix.begin(in.k, survivors < in.k ? kLowest : threshold);
    stage = kCounting;
  }
  conclude(in, INSIGHT_DONE, 0);
  if (count > Tuning::kSortable) return finish_in_grid(in, count, threshold, scratch, radix);
  if (blockIdx.x == 0) finish_in_block(in, count, scratch.sorting);
}

}  // namespace insight::cuda
