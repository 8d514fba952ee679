// The GPU's place in the table of back ends.
#include "../back_end.h"

#include "call.h"

namespace insight::cuda {
namespace {

// A workspace begins with the outcome.
constexpr int64_t kOutcome = sizeof(Outcome);
static_assert(kOutcome == 16, "what follows is aligned, too");

Queue queue_of(const Place& place) { return {static_cast<int>(place.index), place.stream}; }

int64_t bytes_needed(const Request& request, const Place& place) {
  constexpr int64_t kMost = int64_t{1} << 48;
  expect(request.beliefs.size <= kMost, "size", "at most 2^48 beliefs", request.beliefs.size);
  return kOutcome + (request.k > 0 ? workspace_bytes(request, tuned<Tuning>(place)) : 0);
}

void read(const Place& place, const void* from, size_t bytes, void* to) {
  const OnDevice current(queue_of(place).device);
  const auto stream = static_cast<cudaStream_t>(place.stream);
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream), "cudaMemcpyAsync");
  check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
}

// Launches what leaves its outcome where it is told to, and waits for it unless the caller has kept
// room for it.
template <class Launch>
Outcome launched(const Place& place, const Result& result, int64_t bytes, const Launch& launch) {
  expect(result.workspace_bytes >= bytes, "workspace", text(bytes, " bytes or more"),
         result.workspace_bytes);
  const auto workspace = static_cast<Outcome*>(result.workspace);
  expect(workspace && reinterpret_cast<uintptr_t>(workspace) % 16 == 0, "workspace",
         "memory aligned to 16 bytes", result.workspace);
  launch(workspace + 1, result.outcome ? result.outcome : workspace);
  Outcome outcome{};
  if (!result.outcome) read(place, workspace, sizeof(outcome), &outcome);
  return outcome;
}

Outcome score_all(const Request& request, const Place& place, const Result& result) {
  return launched(place, result, kOutcome, [&](void*, Outcome* outcome) {
    score(request, queue_of(place), outcome, result.scores);
  });
}

Outcome select(const Request& request, const Place& place, const Result& result) {
  const auto launch = [&](void* workspace, Outcome* outcome) {
    select_top_k(request, tuned<Tuning>(place), queue_of(place), workspace, outcome, result);
  };
  return launched(place, result, bytes_needed(request, place), launch);
}

std::string device_name(const Place& place) {
  const OnDevice current(queue_of(place).device);
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, queue_of(place).device), "cudaGetDeviceProperties");
  return properties.name;
}

}  // namespace

const BackEnd back_end{"cuda", bytes_needed, score_all, select, read, device_name};

}  // namespace insight::cuda
