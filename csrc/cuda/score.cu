#include <algorithm>

#include "call.h"
#include "scratch.cuh"

namespace insight::cuda {
namespace {

struct ScoreArguments {
  PreparedScore score;
  Beliefs beliefs;
  Outcome* outcome;
  float* scores;
};

// outcome->where collects the fault (see Progress) until report_kernel reads it.
__global__ void __launch_bounds__(Tuning::kThreads, 1)
    score_kernel(const __grid_constant__ ScoreArguments in) {
  for (int64_t i = thread_in_grid(); i < in.beliefs.size; i += threads_in_grid()) {
    const float a = in.beliefs.alpha[i], b = in.beliefs.beta[i];
    float score = bit_cast<float>(0x7fc00000u);
    if (is_belief(a, b)) {
      score = reference_score(in.score, a, b, i);
    } else {
      note_fault(reinterpret_cast<unsigned long long&>(in.outcome->where), i);
    }
    in.scores[i] = score;
  }
}

__global__ void report_kernel(Outcome* outcome) {
  const int64_t fault = outcome->where;
  outcome->code = fault ? INSIGHT_BAD_BELIEF : INSIGHT_DONE;
  outcome->where = fault ? ~fault : 0;
}

}  // namespace

void score(const Request& request, const Queue& queue, Outcome* outcome, float* scores) {
  const Beliefs& beliefs = request.beliefs;
  const OnDevice current(queue.device);
  const auto stream = static_cast<cudaStream_t>(queue.stream);
  check(cudaMemsetAsync(outcome, 0, sizeof(Outcome), stream), "cudaMemsetAsync");
  if (beliefs.size > 0) {
    const int64_t wanted = (beliefs.size + Tuning::kThreads - 1) / Tuning::kThreads;
    const int64_t most = int64_t{16} * multiprocessors(queue.device);
    ScoreArguments arguments{PreparedScore(request.score, beliefs.first), beliefs, outcome, scores};
    void* parameters[] = {&arguments};
    check(cudaLaunchKernel(score_kernel, static_cast<unsigned>(std::min(wanted, most)),
                           Tuning::kThreads, parameters, 0, stream),
          "cudaLaunchKernel");
  }
  void* parameters[] = {&outcome};
  check(cudaLaunchKernel(report_kernel, 1, 1, parameters, 0, stream), "cudaLaunchKernel");
}

}  // namespace insight::cuda
