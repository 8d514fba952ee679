// Shared memory of a block, and what the kernels have in common.
#pragma once

#include <cuda_runtime.h>

#include "plan.h"

namespace insight::cuda {

constexpr unsigned kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;
constexpr unsigned kWarps = Tuning::kThreads / kWarp;

// A score with its constants worked out, as bytes: so one kernel serves all scores, which keeps
// the build short. The switch by kind is the same for all threads and costs next to nothing.
struct PreparedScore {
  int kind;
  alignas(16) unsigned char bytes[128];

  PreparedScore(const insight_score& given, int64_t first)
      : kind(static_cast<int>(given.kind)), bytes{} {
    with_score_type(kind, [&](auto type) {
      using Score = typename decltype(type)::type;
      static_assert(sizeof(Score) <= sizeof(bytes), "there is room for every score");
      const Score score = Score::from(given.parameters, key_of(given, first));
      memcpy(bytes, &score, sizeof(score));
    });
  }

  // visit(score) with the score's own type.
  template <class Result, class Visit>
  __device__ Result with_score(Visit visit) const {
    return with_score_type(kind, [&](auto type) -> Result {
      return visit(*reinterpret_cast<const typename decltype(type)::type*>(bytes));
    });
  }
};

struct Arguments {
  PreparedScore score;
  Beliefs beliefs;
  Eligible eligible;
  int64_t k;
  uint64_t key;  // of the tie hash
  bool sorted;
  Plan plan;
  Workspace memory;
  Outcome* outcome;
  int64_t* indices;
  float* scores;
  int pass = 0;  // of the sort

  Arguments(const Request& request, const Tuning& tuning, void* workspace, Outcome* outcome,
            const Result& result)
      : score(request.score, request.beliefs.first),
        beliefs(request.beliefs),
        eligible(request),
        k(request.k),
        key(tie_key(request.beliefs, request.seed)),
        sorted(request.sorted),
        plan(make_plan(request, tuning)),
        memory(workspace, request, plan),
        outcome(outcome),
        indices(result.indices),
        scores(result.scores) {}
};

// A candidate that waits for its reference score.
struct alignas(16) Waiting {
  int64_t index;
  float a, b;
};

// A score that was computed before. No belief is (0, 0).
struct alignas(16) Known {
  float a, b, score;
};

struct WarpScratch {
  Waiting waiting[2 * kWarp];  // at most one warp's share is left when another one is added
  Known known[Tuning::kRemembered];
};

// Of a radix selection.
struct Radix {
  unsigned counts[Digit::kValues];  // of the candidates with each digit
  unsigned of_warp[kWarps];
  unsigned digit, wanted, count;    // `wanted` of the `count` candidates with that digit are taken
  unsigned long long taken;
};

struct Scratch {
  WarpScratch warps[kWarps];
  unsigned waiting[kWarps];  // candidates of each warp
  unsigned long long kept;
  Radix radix;
  Standing worst[kWarps];
  bool is_last;
};

__device__ inline unsigned lane() { return threadIdx.x % kWarp; }
__device__ inline int64_t thread_in_grid() {
  return int64_t{blockIdx.x} * Tuning::kThreads + threadIdx.x;
}
__device__ inline int64_t threads_in_grid() { return int64_t{gridDim.x} * Tuning::kThreads; }

// The next places of a counter, one for each lane of a warp for which `has`. All its lanes call this.
__device__ inline int64_t claim(bool has, unsigned long long* count) {
  const unsigned taken = __ballot_sync(kAllLanes, has);
  if (!taken) return 0;
  const int leader = __ffs(static_cast<int>(taken)) - 1;
  unsigned long long first = 0;
  if (static_cast<int>(lane()) == leader) {
    first = atomicAdd(count, static_cast<unsigned long long>(__popc(taken)));
  }
  first = __shfl_sync(kAllLanes, first, leader);
  return static_cast<int64_t>(first) + __popc(taken & ((1u << lane()) - 1u));
}

// Another lane's Standing: that of the lane whose number differs in the bit `distance`.
__device__ inline Standing of_lane(Standing item, unsigned distance) {
  const uint64_t hash = __shfl_xor_sync(kAllLanes, hash_of(item), distance);
  const uint32_t score = __shfl_xor_sync(kAllLanes, static_cast<uint32_t>(item >> 64), distance);
  return static_cast<Standing>(score) << 64 | hash;
}

// True in the last block to arrive here, which sees all that the others have written. Nobody waits.
__device__ inline bool is_last_block(unsigned& arrived, bool& is_last) {
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    is_last = atomicAdd(&arrived, 1u) == gridDim.x - 1;
    __threadfence();
  }
  __syncthreads();
  return is_last;
}

__device__ inline void note_fault(unsigned long long& fault, int64_t place) {
  atomicMax(&fault, ~static_cast<unsigned long long>(place));
}
__device__ inline int64_t first_fault(unsigned long long fault) {
  return static_cast<int64_t>(~fault);  // -1 (as unsigned the largest) where there is none
}

// The reference score. Not inlined: it is large, and the streaming loop should not pay for it.
// Adding zero turns -0 into +0, so that equal scores have equal bits.
__device__ __noinline__ inline float reference_score(const PreparedScore& prepared, float a,
                                                     float b, int64_t index) {
  return prepared.with_score<float>([&](const auto& score) {
    if constexpr (std::decay_t<decltype(score)>::kPerIndex) {
      return static_cast<float>(score(double(a), double(b), index)) + 0.0f;
    } else {
      return static_cast<float>(score(double(a), double(b))) + 0.0f;
    }
  });
}

// No less than the reference score, or NaN.
__device__ inline float bound(const PreparedScore& prepared, float a, float b) {
  return prepared.with_score<float>([&](const auto& score) { return score.bound(a, b); });
}

}  // namespace insight::cuda
