#include "call.h"
#include "select.cuh"

namespace insight::cuda {
namespace {

#define INSIGHT_KERNEL __global__ void __launch_bounds__(Tuning::kThreads, 1)

INSIGHT_KERNEL mark_kernel(const __grid_constant__ Arguments in) { mark_lists(in); }

INSIGHT_KERNEL sample_kernel(const __grid_constant__ Arguments in) {
  __shared__ Scratch scratch;
  take_sample(in);
  if (is_last_block(in.memory.progress->sampled, scratch.is_last)) find_cut(in, scratch);
}

INSIGHT_KERNEL scan_kernel(const __grid_constant__ Arguments in) {
  __shared__ Scratch scratch;
  scan_pool(in, scratch);
  if (is_last_block(in.memory.progress->scanned, scratch.is_last)) conclude(in, scratch);
}

INSIGHT_KERNEL sort_kernel(const __grid_constant__ Arguments in) {
  if (in.outcome->code != INSIGHT_DONE) return;
  for (int64_t i = thread_in_grid(); i < in.k; i += threads_in_grid()) sort_item(in, in.pass, i);
}

void check_tuning(const Tuning& tuning) {
  constexpr int64_t kMost = int64_t{1} << 30;
  const auto lies = [](int64_t least, int64_t value) { return least <= value && value <= kMost; };
  expect(lies(0, tuning.unsampled) && lies(2, tuning.sample_share) && lies(1, tuning.sample_most) &&
             lies(1, tuning.sample_expected) && lies(0, tuning.sample_rank) &&
             lies(0, tuning.least_capacity) && lies(1, tuning.capacity_factor) &&
             lies(0, tuning.capacity),
         "tuning", "sizes up to 2^30, a sample of half the pool or less", "others");
}

}  // namespace

int64_t workspace_bytes(const Request& request, const Tuning& tuning) {
  check_tuning(tuning);
  constexpr int64_t kMost = int64_t{1} << 29;  // survivors are counted in 32 bits
  expect(request.k <= kMost, "k", "at most 2^29 prompts on a GPU", request.k);
  const Plan plan = make_plan(request, tuning);
  return static_cast<int64_t>(Workspace(nullptr, request, plan).bytes);
}

void select_top_k(const Request& request, const Tuning& tuning, const Queue& queue,
                  void* workspace, Outcome* outcome, const Result& result) {
  check_tuning(tuning);
  const OnDevice current(queue.device);
  const auto stream = static_cast<cudaStream_t>(queue.stream);
  const int64_t most_blocks = multiprocessors(queue.device);
  Arguments arguments(request, tuning, workspace, outcome, result);
  const auto launch = [&](void (*kernel)(Arguments), int64_t threads) {
    const int64_t blocks = std::clamp((threads + Tuning::kThreads - 1) / Tuning::kThreads,
                                      int64_t{1}, most_blocks);
    void* parameters[] = {&arguments};
    check(cudaLaunchKernel(kernel, static_cast<unsigned>(blocks), Tuning::kThreads, parameters, 0,
                           stream),
          "cudaLaunchKernel");
  };
  check(cudaMemsetAsync(workspace, 0, arguments.memory.zeroed, stream), "cudaMemsetAsync");
  const Eligible& lists = arguments.eligible;
  const int64_t listed = std::max(lists.candidates_size, lists.excluded_size);
  if (listed > 0) launch(mark_kernel, listed);
  if (arguments.plan.sample_size > 0) launch(sample_kernel, arguments.plan.sample_size);
  launch(scan_kernel, most_candidates(request));
  if (request.k <= Tuning::kThreads) return;
  for (arguments.pass = 0; run_of(arguments.pass) < request.k; ++arguments.pass) {
    launch(sort_kernel, request.k);
  }
}

}  // namespace insight::cuda
