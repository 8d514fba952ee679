// The library with the CUDA back end, kernels and host side, compiled for the emulated device: a shared
// library that test_cuda_emulation.py calls by insight.h. The CPU's back end is in it, too, with its
// portable loops alone.
#include "cuda_runtime.h"

#include "../../../csrc/cpu/kernels.h"
#define INSIGHT_BACK_ENDS BACK_END(cpu) BACK_END(cuda)
#include "../../../csrc/cuda/back_end.cu"
#include "../../../csrc/cuda/score.cu"
#include "../../../csrc/cuda/select.cu"
#include "../../../csrc/insight.cpp"

const insight_kernels::Kernels& insight_kernels::avx2(int kind) { return portable(kind); }
const insight_kernels::Kernels& insight_kernels::avx512(int kind) { return portable(kind); }

extern "C" {

void emulate(int multiprocessors, uint64_t seed) {
  emulation::settings.multiprocessors = multiprocessors;
  emulation::settings.seed = seed;
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
