// A threshold that about as many candidates pass as are wanted, from a stratified sample.
#pragma once

#include "eligible.cuh"
#include "radix.cuh"

namespace insight::cuda {

// What the i-th candidate of the sample promises, as a Standing with a bound instead of a score.
__device__ inline Standing promise(const Arguments& in, int64_t i) {
  const uint64_t size = static_cast<uint64_t>(candidate_count(in)), each = static_cast<uint64_t>(i);
  const uint64_t parts = static_cast<uint64_t>(in.plan.sample_size);
  const uint64_t begin = each * size / parts, end = (each + 1) * size / parts;
  if (begin == end) return kNobody;
  const uint64_t jitter = tie_hash(in.key, ~i) % (end - begin);
  const int64_t index = candidate(in, static_cast<int64_t>(begin + jitter));
  const float a = in.beliefs.alpha[index], b = in.beliefs.beta[index];
  if (!is_open(in, index) || is_excluded(in, index) || !is_belief(a, b)) return kNobody;
  const bool by_bound = in.score.with_score<bool>(
      [](const auto& score) { return std::decay_t<decltype(score)>::kBoundRanks; });
  const float most = by_bound ? bound(in.score, a, b) : reference_score(in.score, a, b, index);
  return standing(most, tie_hash(in.key, index));
}

// Of each few neighbouring lanes, the one that promises most is left. They look at distant strata, so
// that the best of a sorted pool do not meet.
__device__ inline void take_sample(const Arguments& in) {
  const unsigned lanes = static_cast<unsigned>(in.plan.sample_size) / Tuning::kSamples;
  for (int64_t i = thread_in_grid(); i < in.plan.sample_size; i += threads_in_grid()) {
    Standing best = promise(in, i % lanes * Tuning::kSamples + i / lanes);
    for (unsigned distance = lanes / 2; distance; distance /= 2) {
      const Standing other = of_lane(best, distance);
      if (other > best) best = other;
    }
    if (i % lanes == 0) in.memory.samples[i / lanes] = best;
  }
}

// The cut: the worst, by score, of the sample's candidates that promise most; kLowest if they are too
// few. One block finds it.
__device__ inline void find_cut(const Arguments& in, Scratch& scratch) {
  Standing* const best = in.memory.survivors;
  const int rank = in.plan.sample_rank;
  const bool enough =
      take_best(in.memory.samples, Tuning::kSamples, rank, best, scratch.radix) != kNobody;
  Standing worst = ~kNobody;
  for (int i = static_cast<int>(threadIdx.x); i < rank && enough; i += Tuning::kThreads) {
    const uint64_t hash = hash_of(best[i]);
    const int64_t index = index_of(in.key, hash);
    const float a = in.beliefs.alpha[index], b = in.beliefs.beta[index];
    const Standing item =  // what changed meanwhile may be no belief
        is_belief(a, b) ? standing(reference_score(in.score, a, b, index), hash) : kLowest;
    if (item < worst) worst = item;
  }
  for (unsigned distance = kWarp / 2; distance; distance /= 2) {
    const Standing other = of_lane(worst, distance);
    if (other < worst) worst = other;
  }
  if (lane() == 0) scratch.worst[threadIdx.x / kWarp] = worst;
  __syncthreads();
  for (const Standing other : scratch.worst) {
    if (other < worst) worst = other;
  }
  if (threadIdx.x) return;
  Progress& progress = *in.memory.progress;
  progress.threshold = enough ? worst : kLowest;
  if (progress.threshold == kLowest) return;
  const int64_t index = index_of(in.key, hash_of(worst));
  progress.cut_a = in.beliefs.alpha[index];
  progress.cut_b = in.beliefs.beta[index];
  progress.evidence_limit = in.score.with_score<float>(
      [&](const auto& score) { return score.evidence_limit(score_of(worst)); });
}

}  // namespace insight::cuda
