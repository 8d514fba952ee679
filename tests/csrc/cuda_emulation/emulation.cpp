// The CUDA back end, kernels and host side, compiled for the emulated device as a shared library
// that test_cuda_emulation.py loads.
#include "cuda_runtime.h"

#include "../../../csrc/cuda/device.cu"
#include "../../../csrc/cuda/score.cu"
#include "../../../csrc/cuda/select.cu"

using namespace insight;

extern "C" {

void emulate(int multiprocessors, uint64_t seed) {
  emulation::settings.multiprocessors = multiprocessors;
  emulation::settings.seed = seed;
}

static AnyScore any_score(int kind, const double* parameters, uint64_t seed, uint64_t draw) {
  AnyScore score{static_cast<ScoreKind>(kind), {}, seed, draw};
  std::copy_n(parameters, kMaxParameters, score.parameters);
  return score;
}

void emulated_score(int kind, const double* parameters, uint64_t seed, uint64_t draw,
                    const float* alpha, const float* beta, int64_t size, int64_t first,
                    int64_t* outcome, float* scores) {
  cuda::score(any_score(kind, parameters, seed, draw), {alpha, beta, size, first}, {0, nullptr},
              outcome, scores);
}

// False if an argument is refused.
bool emulated_select_top_k(int kind, const double* parameters, uint64_t score_seed, uint64_t draw,
                           const float* alpha, const float* beta, int64_t size, int64_t first,
                           int64_t k, uint64_t seed, bool sorted, const int64_t* candidates,
                           int64_t candidates_size, const bool* candidate_mask,
                           const int64_t* excluded, int64_t excluded_size,
                           const bool* exclusion_mask, const int64_t* tuning_values,
                           int64_t* outcome, int64_t* indices, float* scores) {
  cuda::Tuning tuning;
  tuning.unsampled = tuning_values[0];
  tuning.sample_rank = tuning_values[1];
  tuning.capacity = tuning_values[2];
  const Eligible eligible{candidates, candidates_size, candidate_mask,
                          excluded,   excluded_size,   exclusion_mask};
  try {
    const size_t bytes = cuda::workspace_bytes(size, eligible, k, tuning);
    // Exactly as large as asked for and full of garbage, so that the sanitizers and the answers
    // notice what is read before it was written.
    std::unique_ptr<char[]> memory(new char[bytes + 16]);
    char* const aligned = memory.get() + (16 - reinterpret_cast<uintptr_t>(memory.get()) % 16) % 16;
    std::memset(memory.get(), 0xa5, bytes + 16);
    cuda::select_top_k(any_score(kind, parameters, score_seed, draw), {alpha, beta, size, first},
                       eligible, {k, seed, sorted}, tuning, {0, nullptr}, aligned, outcome,
                       {indices, scores});
    for (char* end = aligned + bytes; end < memory.get() + bytes + 16; ++end) {
      if (*end != char(0xa5)) std::abort();
    }
  } catch (const ArgumentError&) {
    return false;
  }
  return true;
}

// Whether an index and its score survive the way into a Standing and back, in both forms.
bool emulated_recovers(uint64_t key, int64_t index) {
  const float score = -1.5f;
  const cuda::Standing item = cuda::standing(score, tie_hash(key, index));
  const cuda::Standing falling = cuda::by_index(item, key);
  return cuda::index_of(key, cuda::hash_of(item)) == index && cuda::score_of(item) == score &&
         static_cast<int64_t>(~static_cast<uint64_t>(falling >> 32)) == index &&
         cuda::from_rising(static_cast<uint32_t>(falling)) == score;
}
}
