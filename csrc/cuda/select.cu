#include "call.h"
#include "select.cuh"

namespace insight::cuda {
namespace {

template <class Score>
__global__ void __launch_bounds__(Tuning::kThreads, Tuning::kBlocksPerMultiprocessor)
    select_kernel(const __grid_constant__ Arguments<Score> arguments) {
  __shared__ BlockScratch scratch;
  __shared__ Located located;
  select_body(arguments, scratch, located);
}

// As many blocks as run at once (they wait for each other), but no more than have work.
template <class Kernel>
unsigned grid_size(Kernel kernel, int device, int64_t size) {
  int blocks = 0;
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, Tuning::kThreads, 0),
        "cudaOccupancyMaxActiveBlocksPerMultiprocessor");
  const int64_t most = int64_t{std::min(blocks, Tuning::kBlocksPerMultiprocessor)} *
                       multiprocessors(device);
  return static_cast<unsigned>(
      std::min(most, (size + Tuning::kThreads - 1) / Tuning::kThreads));
}

}  // namespace

size_t workspace_bytes(int64_t size, const Eligible& eligible, int64_t k, const Tuning& tuning) {
  return Workspace(nullptr, size, eligible, k, make_plan(size, k, tuning)).bytes;
}

void select_top_k(const AnyScore& any, const Beliefs& beliefs, const Eligible& eligible,
                  const SelectionRequest& request, const Tuning& tuning, const Queue& queue,
                  void* workspace, int64_t* outcome, const Selection& selection) {
  const OnDevice current(queue.device);
  const auto stream = static_cast<cudaStream_t>(queue.stream);
  const Plan plan = make_plan(beliefs.size, request.k, tuning);
  const Workspace memory(workspace, beliefs.size, eligible, request.k, plan);
  check(cudaMemsetAsync(workspace, 0, memory.zeroed, stream), "cudaMemsetAsync");
  with_score_type(any.kind, [&](auto type) {
    using Score = typename decltype(type)::type;
    Arguments<Score> arguments{Score::from(any.parameters, any.seed, any.draw),
                               beliefs,
                               eligible,
                               request.k,
                               hash_key(request.seed),
                               request.sorted,
                               plan,
                               memory,
                               outcome,
                               selection};
    void* parameters[] = {&arguments};
    check(cudaLaunchCooperativeKernel(select_kernel<Score>,
                                      grid_size(select_kernel<Score>, queue.device, beliefs.size),
                                      Tuning::kThreads, parameters, 0, stream),
          "cudaLaunchCooperativeKernel");
  });
}

}  // namespace insight::cuda
