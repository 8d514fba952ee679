// The selection as one cooperative kernel: every decision is made on the device, so the host
// neither waits nor launches what is not needed. The usual way has two waits for the grid.
#pragma once

#include "radix.cuh"
#include "sample.cuh"

namespace insight::cuda {

template <class Score>
__device__ void conclude(const Arguments<Score>& in, Outcome::Code code, int64_t where) {
  if (thread_in_grid() == 0) {
    in.outcome[0] = code;
    in.outcome[1] = where;
  }
  if (code == Outcome::kDone) return;
  for (int64_t i = thread_in_grid(); i < in.k; i += threads_in_grid()) {
    in.selection.indices[i] = -1;
    in.selection.scores[i] = bit_cast<float>(0x7fc00000u);
  }
}

// The same for all threads; false if something was wrong, which then is concluded.
template <class Score>
__device__ bool is_sound(const Arguments<Score>& in) {
  const Progress& progress = *in.memory.progress;
  if (progress.bad_exclusion) {
    conclude(in, Outcome::kBadExclusion, first_fault(progress.bad_exclusion));
    return false;
  }
  if (progress.bad_candidate > progress.bad_belief) {
    conclude(in, Outcome::kBadCandidate, first_fault(progress.bad_candidate));
    return false;
  }
  if (progress.bad_belief) {
    const int64_t place = first_fault(progress.bad_belief);
    conclude(in, Outcome::kBadBelief, in.memory.listed ? in.eligible.candidates[place] : place);
    return false;
  }
  return true;
}

template <class Score>
__device__ void write_selected(const Arguments<Score>& in, int64_t place, Standing item) {
  if (in.sorted) {
    in.selection.indices[place] = index_of(in.key, hash_of(item));
    in.selection.scores[place] = score_of(item);
  } else {
    in.selection.indices[place] = static_cast<int64_t>(~static_cast<uint64_t>(item >> 32));
    in.selection.scores[place] = from_rising(static_cast<uint32_t>(item));
  }
}

// One block selects and sorts in shared memory.
template <class Score>
__device__ void finish_in_block(const Arguments<Score>& in, int64_t count, Standing* shared) {
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

template <class Score>
__device__ void finish_in_grid(const Arguments<Score>& in, int64_t count, Standing floor,
                               BlockScratch& scratch, Located& located) {
  Standing* const survivors = in.memory.survivors;
  const Standing threshold =
      count == in.k ? kNobody
                    : exact_threshold(in, survivors, count, floor, scratch, located);
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

template <class Score>
__device__ void select_body(const Arguments<Score>& in, BlockScratch& scratch, Located& located) {
  Progress& progress = *in.memory.progress;
  if (has_lists(in)) {
    mark_lists(in);
    wait_for_grid();
    if (!is_sound(in)) return;
  }

  Standing threshold = kLowest;
  if (in.plan.sample_per_group) {
    take_sample(in, scratch.sorting);
    wait_for_grid();
    threshold = sampled_threshold(in, scratch.sorting);
  }
  scan(in, scratch,
       {threshold, in.memory.survivors, in.plan.capacity, &progress.survivors, nullptr, 0}, true);
  wait_for_grid();
  if (!is_sound(in)) return;
  if (is_restricted(in) && progress.eligible < static_cast<unsigned long long>(in.k)) {
    return conclude(in, Outcome::kTooFewEligible, static_cast<int64_t>(progress.eligible));
  }
  conclude(in, Outcome::kDone, 0);

  int64_t count = static_cast<int64_t>(progress.survivors);
  if (count < in.k || count > in.plan.capacity) {
    // The sample misled: find the exact threshold, which exactly k candidates pass.
    const Standing floor = count < in.k ? kLowest : threshold;
    threshold = exact_threshold(in, nullptr, 0, floor, scratch, located);
    scan(in, scratch,
         {threshold, in.memory.survivors, in.plan.capacity, &progress.kept, nullptr, 0}, false);
    wait_for_grid();
    count = in.k;
  }
  if (count > Tuning::kSortable) return finish_in_grid(in, count, threshold, scratch, located);
  if (blockIdx.x == 0) finish_in_block(in, count, scratch.sorting);
}

}  // namespace insight::cuda
