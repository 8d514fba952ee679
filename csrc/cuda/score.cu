#include <algorithm>

#include "../check.h"
#include "call.h"
#include "scratch.cuh"

namespace insight::cuda {
namespace {

struct ScoreArguments {
  PreparedScore score;
  Beliefs beliefs;
  int64_t* outcome;
  float* scores;
};

// outcome[1] collects the fault (see Progress) until report_kernel reads it.
__global__ void __launch_bounds__(Tuning::kThreads)
    score_kernel(const __grid_constant__ ScoreArguments in) {
  for (int64_t i = thread_in_grid(); i < in.beliefs.size; i += threads_in_grid()) {
    const float a = in.beliefs.alpha[i], b = in.beliefs.beta[i];
    float score = bit_cast<float>(0x7fc00000u);
    if (is_belief(a, b)) {
      score = reference_score(in.score, a, b, i);
    } else {
      note_fault(*reinterpret_cast<unsigned long long*>(in.outcome + 1), i);
    }
    in.scores[i] = score;
  }
}

__global__ void report_kernel(int64_t* outcome) {
  const int64_t fault = outcome[1];
  outcome[0] = fault ? Outcome::kBadBelief : Outcome::kDone;
  outcome[1] = fault ? ~fault : 0;
}

}  // namespace

void score(const AnyScore& any, const Beliefs& beliefs, const Queue& queue, int64_t* outcome,
           float* scores) {
  check_score(any);
  check_beliefs(beliefs);
  expect_array(outcome, "outcome");
  if (beliefs.size > 0) expect_array(scores, "scores");
  const OnDevice current(queue.device);
  const auto stream = static_cast<cudaStream_t>(queue.stream);
  check(cudaMemsetAsync(outcome, 0, 2 * sizeof(int64_t), stream), "cudaMemsetAsync");
  if (beliefs.size > 0) {
    const int64_t wanted = (beliefs.size + Tuning::kThreads - 1) / Tuning::kThreads;
    const int64_t most = int64_t{16} * multiprocessors(queue.device);
    ScoreArguments arguments{PreparedScore(any, beliefs.first), beliefs, outcome, scores};
    void* parameters[] = {&arguments};
    check(cudaLaunchKernel(score_kernel, static_cast<unsigned>(std::min(wanted, most)),
                           Tuning::kThreads, parameters, 0, stream),
          "cudaLaunchKernel");
  }
  void* parameters[] = {&outcome};
  check(cudaLaunchKernel(report_kernel, 1, 1, parameters, 0, stream), "cudaLaunchKernel");
}

}  // namespace insight::cuda
