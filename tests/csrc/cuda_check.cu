// Selects on the CPU and on the GPU through every path and compares the bits. A plain program, so
// that compute-sanitizer sees this project's kernels alone:
//   compute-sanitizer --tool racecheck cuda_check
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include <cuda_runtime.h>

#include "../../csrc/insight.h"

namespace {

void check(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return;
  std::printf("%s: %s\n", call, cudaGetErrorString(error));
  std::exit(1);
}

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

bool same(const insight_score& score, const Pool& pool, int64_t k, bool sorted, bool listed,
          const Way& way) {
  const int64_t size = static_cast<int64_t>(pool.alpha.size());
  std::vector<int64_t> candidates, excluded;
  for (int64_t i = 0; i < size; i += 2) candidates.push_back(i);
  for (int64_t i = 0; i < size; i += 6) excluded.push_back(i);
  const auto list = [](const int64_t* data, const std::vector<int64_t>& listed) {
    return insight_subset{INSIGHT_LIST, data, static_cast<int64_t>(listed.size())};
  };

  std::vector<int64_t> indices(k);
  std::vector<float> scores(k);
  insight_request request{sizeof(request), score, {pool.alpha.data(), pool.beta.data(), size, kFirst},
                          {}, {}, k, 11, sorted};
  if (listed) {
    request.candidates = list(candidates.data(), candidates);
    request.exclude = list(excluded.data(), excluded);
  }
  insight_place place{sizeof(place), "cpu", 0, nullptr, 0, nullptr, nullptr, 0, nullptr};
  insight_result result{sizeof(result), indices.data(), scores.data(), nullptr, nullptr, 0};
  const insight_outcome expected = insight_select_top_k(&request, &place, &result);

  const DeviceArray<float> alpha(pool.alpha), beta(pool.beta);
  const DeviceArray<int64_t> device_candidates(candidates), device_excluded(excluded);
  request.beliefs.alpha = alpha.data();
  request.beliefs.beta = beta.data();
  if (listed) {
    request.candidates.data = device_candidates.data();
    request.exclude.data = device_excluded.data();
  }
  const insight_setting tuning[] = {
      {"unsampled", 0}, {"sample_rank", way.sample_rank}, {"capacity", way.capacity}};
  place.device = "cuda";
  place.tuning = tuning;
  place.tuning_size = 3;
  int64_t bytes = 0;
  insight_workspace_bytes(&request, &place, &bytes);
  const DeviceArray<char> workspace(bytes);
  const DeviceArray<int64_t> device_indices(k);
  const DeviceArray<float> device_scores(k);
  result = {sizeof(result), device_indices.data(), device_scores.data(), nullptr, workspace.data(),
            bytes};
  const insight_outcome outcome = insight_select_top_k(&request, &place, &result);
  if (outcome.code != INSIGHT_DONE) std::printf("%s\n", insight_message());
  const bool equal = outcome.code == expected.code && outcome.where == expected.where &&
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
  const insight_score information{INSIGHT_WEIGHTED_INFORMATION, 3, {8, 3, 0.3}, 0, 0};
  const insight_score thompson{INSIGHT_THOMPSON, 1, {0.5}, 3, 1};
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
