// Selects on the CPU and on the GPU through every path and compares the bits. A plain program, so
// that compute-sanitizer sees this project's kernels alone:
//   compute-sanitizer --tool racecheck cuda_check
#include <cstdio>
#include <random>
#include <vector>

#include "../../csrc/cpu/cpu.h"
#include "../../csrc/cuda/call.h"

using namespace insight;
using cuda::check;

namespace {

template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t size) : size_(size) {
    check(cudaMalloc(&data_, size * sizeof(T)), "cudaMalloc");
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    check(cudaMemcpy(data_, values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice),
          "cudaMemcpy");
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return data_; }
  std::vector<T> read() const {
    std::vector<T> values(size_);
    check(cudaMemcpy(values.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost),
          "cudaMemcpy");
    return values;
  }

 private:
  size_t size_;
  T* data_ = nullptr;
};

struct Pool {
  const char* name;
  std::vector<float> alpha, beta;
};

Pool make_pool(const char* name, int64_t size, int most_visits) {
  std::mt19937_64 random(size);
  Pool pool{name, {}, {}};
  for (int64_t i = 0; i < size; ++i) {
    const int rollouts = most_visits ? 8 * static_cast<int>(random() % most_visits) : 0;
    const int solved = static_cast<int>(random() % (rollouts + 1));
    pool.alpha.push_back(1.0f + static_cast<float>(solved));
    pool.beta.push_back(1.0f + static_cast<float>(rollouts - solved));
  }
  return pool;
}

struct Way {
  const char* name;
  int64_t sample_rank, capacity;
};

constexpr int64_t kFirst = 98765432101;  // of the pool, itself a part of a larger one

bool same(const AnyScore& score, const Pool& pool, int64_t k, bool sorted, bool listed,
          const Way& way) {
  const int64_t size = static_cast<int64_t>(pool.alpha.size());
  std::vector<int64_t> candidates, excluded;
  for (int64_t i = 0; i < size; i += 2) candidates.push_back(i);
  for (int64_t i = 0; i < size; i += 6) excluded.push_back(i);
  const SelectionRequest request{k, 11, sorted};

  std::vector<int64_t> indices(k);
  std::vector<float> scores(k);
  Eligible eligible;
  if (listed) {
    eligible = {candidates.data(), static_cast<int64_t>(candidates.size()), nullptr,
                excluded.data(),   static_cast<int64_t>(excluded.size()),   nullptr};
  }
  const Outcome expected =
      cpu::select_top_k(score, {pool.alpha.data(), pool.beta.data(), size, kFirst}, eligible, request,
                        {}, {indices.data(), scores.data()});

  const DeviceArray<float> alpha(pool.alpha), beta(pool.beta);
  const DeviceArray<int64_t> device_candidates(candidates), device_excluded(excluded);
  if (listed) {
    eligible.candidates = device_candidates.data();
    eligible.excluded = device_excluded.data();
  }
  cuda::Tuning tuning;
  tuning.unsampled = 0;
  tuning.sample_rank = way.sample_rank;
  tuning.capacity = way.capacity;
  const DeviceArray<char> workspace(cuda::workspace_bytes(size, eligible, k, tuning));
  const DeviceArray<int64_t> outcome(2), device_indices(k);
  const DeviceArray<float> device_scores(k);
  cuda::select_top_k(score, {alpha.data(), beta.data(), size, kFirst}, eligible, request, tuning,
                     {0, nullptr}, workspace.data(), outcome.data(),
                     {device_indices.data(), device_scores.data()});
  const bool equal = outcome.read() == std::vector<int64_t>{expected.code, expected.where} &&
                     device_indices.read() == indices && device_scores.read() == scores;
  std::printf("%-7s score %d, %s pool of %lld, k = %lld, %s, %s, %s\n", equal ? "same" : "DIFFERS",
              static_cast<int>(score.kind), pool.name, static_cast<long long>(size),
              static_cast<long long>(k), sorted ? "sorted" : "by index",
              listed ? "lists" : "whole", way.name);
  return equal;
}

}  // namespace

int main(int argc, char** argv) {
  // The sanitizers slow kernels by orders of magnitude; they take a smaller pool.
  const int64_t size = argc > 1 ? std::atoll(argv[1]) : 1000003;
  const AnyScore information{ScoreKind::kWeightedInformation, {8, 3, 0.3}, 0, 0};
  const AnyScore thompson{ScoreKind::kThompson, {0.5}, 3, 1};
  bool all = true;
  for (const Pool& pool : {make_pool("settled", size, 25), make_pool("unseen", size, 0)}) {
    for (const Way& way : {Way{"usual", 0, 0}, Way{"too few", 1, 0}, Way{"too many", 2000, 1}}) {
      for (const int64_t k : {int64_t{1}, int64_t{256}, int64_t{5000}, size / 3}) {
        all &= same(information, pool, std::min(k, size / 3), true, false, way);
      }
      all &= same(information, pool, 256, false, true, way);
      all &= same(thompson, pool, 256, true, false, way);
    }
  }
  std::printf(all ? "all the same\n" : "SOME DIFFER\n");
  return all ? 0 : 1;
}
