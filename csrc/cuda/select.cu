#include "call.h"
#include "select.cuh"

namespace insight::cuda {
namespace {

__global__ void __launch_bounds__(Tuning::kThreads, Tuning::kBlocksPerMultiprocessor)
    select_kernel(const __grid_constant__ Arguments arguments) {
  __shared__ BlockScratch scratch;
  __shared__ RadixSelection radix;
  select_body(arguments, scratch, radix);
}

void check_tuning(const Tuning& tuning) {
  constexpr int64_t kMost = int64_t{1} << 30;
  const auto lies = [](int64_t least, int64_t value) { return least <= value && value <= kMost; };
  expect(lies(0, tuning.unsampled) && lies(2, tuning.sample_share) && lies(1, tuning.sample_most) &&
             tuning.sample_most <= int64_t{Tuning::kSampleGroups} * Tuning::kSortable &&
             lies(1, tuning.sample_expected) && lies(0, tuning.sample_rank) &&
             lies(0, tuning.least_capacity) && lies(1, tuning.capacity_factor) &&
             lies(0, tuning.capacity),
         "tuning", "sizes up to 2^30, a sample of half the pool or less", "others");
}

// As many blocks as run at once (they wait for each other), but no more than have work.
unsigned grid_size(int device, int64_t size) {
  int blocks = 0;
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, select_kernel, Tuning::kThreads, 0),
        "cudaOccupancyMaxActiveBlocksPerMultiprocessor");
  const int64_t most = int64_t{std::min(blocks, Tuning::kBlocksPerMultiprocessor)} *
                       multiprocessors(device);
  return static_cast<unsigned>(
      std::clamp((size + Tuning::kThreads - 1) / Tuning::kThreads, int64_t{1}, most));
}

}  // namespace

int64_t workspace_bytes(const Request& request, const Tuning& tuning) {
  check_tuning(tuning);
  const Plan plan = make_plan(request, tuning);
  return static_cast<int64_t>(Workspace(nullptr, request, plan).bytes);
}

void select_top_k(const Request& request, const Tuning& tuning, const Queue& queue,
                  void* workspace, Outcome* outcome, const Result& result) {
  check_tuning(tuning);
  const OnDevice current(queue.device);
  const auto stream = static_cast<cudaStream_t>(queue.stream);
  Arguments arguments(request, tuning, workspace, outcome, result);
  check(cudaMemsetAsync(workspace, 0, arguments.memory.zeroed, stream), "cudaMemsetAsync");
  void* parameters[] = {&arguments};
  check(cudaLaunchCooperativeKernel(select_kernel, grid_size(queue.device, most_candidates(request)),
                                    Tuning::kThreads, parameters, 0, stream),
        "cudaLaunchCooperativeKernel");
}

}  // namespace insight::cuda
