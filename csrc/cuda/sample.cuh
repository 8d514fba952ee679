// A threshold that about as many candidates pass as are wanted, from a stratified sample.
#pragma once

#include "radix.cuh"
#include "sort.cuh"

namespace insight::cuda {

// Each group scores its share of the sample and leaves its best. Neighbouring strata fall to
// different groups, so that a sorted pool's best ones do not meet in one.
__device__ __noinline__ inline void take_sample(const Arguments& in, Standing* shared) {
  const int count = in.plan.sample_per_group;
  const int64_t size = candidate_count(in), parts = int64_t{count} * Tuning::kSampleGroups;
  const int64_t stride = size < parts ? 1 : size / parts;
  for (int group = static_cast<int>(blockIdx.x); group < Tuning::kSampleGroups;
       group += static_cast<int>(gridDim.x)) {
    for (int i = static_cast<int>(threadIdx.x); i < count; i += Tuning::kThreads) {
      const int64_t stratum = (int64_t{i} * Tuning::kSampleGroups + group) * stride;
      const uint64_t jitter = tie_hash(in.key, ~stratum) % static_cast<uint64_t>(stride);
      const int64_t place = stratum + static_cast<int64_t>(jitter);
      const int64_t index = place < size ? candidate(in, place) : 0;
      Standing mine = kNobody;
      if (place < size && is_open(in, index) && !is_excluded(in, index)) {
        const float a = in.beliefs.alpha[index], b = in.beliefs.beta[index];
        if (is_belief(a, b)) {
          mine = standing(reference_score(in.score, a, b, index), tie_hash(in.key, index));
        }
      }
      shared[i] = mine;
    }
    sort_block(shared, count);
    if (threadIdx.x < Tuning::kSampleKept) {
      const bool there = static_cast<int>(threadIdx.x) < count;
      in.memory.samples[group * Tuning::kSampleKept + static_cast<int>(threadIdx.x)] =
          there ? shared[threadIdx.x] : kNobody;
    }
    __syncthreads();
  }
}

// The kept sample of the plan's rank, by radix selection; kLowest if there are too few. Every block finds
// it for itself, which spares a wait for the grid.
__device__ __noinline__ inline Standing sampled_threshold(const Arguments& in, unsigned* histogram,
                                                          RadixSelection& radix) {
  constexpr int kKept = Tuning::kSampleGroups * Tuning::kSampleKept;
  constexpr int kMine = kKept / Tuning::kThreads;
  if (in.plan.sample_rank > kKept) return kLowest;
  Standing mine[kMine];
#pragma unroll
  for (int i = 0; i < kMine; ++i) {
    mine[i] = in.memory.samples[i * Tuning::kThreads + static_cast<int>(threadIdx.x)];
  }
  radix.begin(in.plan.sample_rank, kNobody);
  for (int digit = 0; digit < Digit::kCount; ++digit) {
    const Sink sink = radix.open(histogram);
#pragma unroll
    for (int i = 0; i < kMine; ++i) sink.tally(true, mine[i]);
    radix.close_in_block(histogram);
  }
  const Standing threshold = radix.lowest();
  return threshold == kNobody ? kLowest : threshold;
}

}  // namespace insight::cuda
