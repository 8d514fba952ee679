// The peer: cub::DeviceTopK over a transform iterator that scores on the fly, and the speed of a
// copy in the same run. It ranks by a cheap float32 formula (w(p) ln(1 + K/n) / 2), which favours
// it: the reference score costs more. Its answer is neither sorted nor reproducible among ties.
// Prints one JSON line for each size:  device_topk K N ...
#include <cub/device/device_topk.cuh>
#include <cuda/iterator>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

void check(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s\n", call, cudaGetErrorString(error));
  std::exit(1);
}

struct RoughScore {
  const float* alpha;
  const float* beta;
  __device__ float operator()(long long i) const {
    const float a = alpha[i], b = beta[i], inverse = __fdividef(1.0f, a + b);
    const float p = a * inverse, distance = p - 0.3f;
    return p * (1.0f - p) * __expf(-3.0f * distance * distance) * 0.5f *
           __logf(1.0f + 8.0f * inverse);
  }
};

// A settled pool: 8 rollouts a visit, 0 to 24 visits.
__global__ void fill(float* alpha, float* beta, long long size) {
  const long long stride = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long i = blockIdx.x * static_cast<long long>(blockDim.x) + threadIdx.x; i < size;
       i += stride) {
    unsigned long long z = (i + 1) * 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    const unsigned rollouts = 8 * (static_cast<unsigned>(z >> 33) % 25);
    const unsigned solved = static_cast<unsigned>(z & 0xffffff) % (rollouts + 1);
    alpha[i] = 1.0f + static_cast<float>(solved);
    beta[i] = 1.0f + static_cast<float>(rollouts - solved);
  }
}

template <class Run>
float median_seconds(Run run) {
  cudaEvent_t start, stop;
  check(cudaEventCreate(&start), "cudaEventCreate");
  check(cudaEventCreate(&stop), "cudaEventCreate");
  std::vector<float> times;
  for (int i = 0; i < 33; ++i) {
    check(cudaEventRecord(start), "cudaEventRecord");
    run();
    check(cudaEventRecord(stop), "cudaEventRecord");
    check(cudaEventSynchronize(stop), "cudaEventSynchronize");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, start, stop), "cudaEventElapsedTime");
    if (i >= 3) times.push_back(milliseconds / 1e3f);
  }
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

void measure(long long size, int k) {
  float *alpha, *beta, *keys;
  long long* indices;
  check(cudaMalloc(&alpha, size * sizeof(float)), "cudaMalloc");
  check(cudaMalloc(&beta, size * sizeof(float)), "cudaMalloc");
  check(cudaMalloc(&keys, k * sizeof(float)), "cudaMalloc");
  check(cudaMalloc(&indices, k * sizeof(long long)), "cudaMalloc");
  fill<<<1024, 256>>>(alpha, beta, size);
  check(cudaGetLastError(), "fill");

  const auto scores =
      cuda::transform_iterator(cuda::counting_iterator<long long>(0), RoughScore{alpha, beta});
  const auto requirements =
      cuda::execution::require(cuda::execution::determinism::not_guaranteed,
                               cuda::execution::output_ordering::unsorted);
  void* temporary = nullptr;
  size_t bytes = 0;
  const auto top_k = [&] {
    check(cub::DeviceTopK::MaxPairs(temporary, bytes, scores, keys,
                                    cuda::counting_iterator<long long>(0), indices, size, k,
                                    requirements),
          "cub::DeviceTopK::MaxPairs");
  };
  top_k();
  check(cudaMalloc(&temporary, bytes), "cudaMalloc");
  const float seconds = median_seconds(top_k);
  const float copy = median_seconds([&] {
    check(cudaMemcpyAsync(beta, alpha, size * sizeof(float), cudaMemcpyDeviceToDevice),
          "cudaMemcpyAsync");
  });
  std::printf("{\"peer\": \"cub::DeviceTopK\", \"n\": %lld, \"k\": %d, \"seconds\": %.9g, "
              "\"copy_bytes_per_second\": %.6g, \"temporary_bytes\": %zu}\n",
              size, k, seconds, 2.0 * double(size) * sizeof(float) / copy, bytes);
  for (void* memory : {static_cast<void*>(alpha), static_cast<void*>(beta),
                       static_cast<void*>(keys), static_cast<void*>(indices), temporary}) {
    check(cudaFree(memory), "cudaFree");
  }
}

}  // namespace

int main(int argc, char** argv) {
  for (int i = 2; i < argc; ++i) measure(std::atoll(argv[i]), std::atoi(argv[1]));
}
