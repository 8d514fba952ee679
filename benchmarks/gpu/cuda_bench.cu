// How fast the CUDA back end is beside what its memory allows, without Python or torch:
//   cuda_bench FILE SECONDS      appends a line of JSON for each measurement to FILE; begins nothing
//                                new once SECONDS are over
// A call's time is that of a graph of many calls, divided by their number. `cold` calls go from pool to
// pool, so that the cache holds none; `warm` ones stay with one. Whether the answers are right is what
// cuda_check says.
#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <random>
#include <vector>

#include "../../csrc/cuda/select.cuh"
#include "device.h"

namespace {

using namespace insight;
using namespace insight::cuda;

constexpr size_t kNoCache = size_t{1} << 30;  // bytes, more than any cache holds

// The sum of all beliefs: what reading them once costs.
__global__ void __launch_bounds__(Tuning::kThreads)
    sum_kernel(const float4* alpha, const float4* beta, int64_t fours, float* sum) {
  float mine = 0;
  for (int64_t i = thread_in_grid(); i < fours; i += threads_in_grid()) {
    const float4 a = alpha[i], b = beta[i];
    mine += a.x + a.y + a.z + a.w + b.x + b.y + b.z + b.w;
  }
  if (mine < 0) *sum = mine;  // never, but the compiler does not know
}

// The selection's first kernel, and the second one without its end.
__global__ void __launch_bounds__(Tuning::kThreads, 1)
    sample_kernel(const __grid_constant__ Arguments in) {
  __shared__ Scratch scratch;
  take_sample(in);
  if (is_last_block(in.memory.progress->sampled, scratch.is_last)) find_cut(in, scratch);
}
__global__ void __launch_bounds__(Tuning::kThreads, 1)
    scan_kernel(const __grid_constant__ Arguments in) {
  __shared__ Scratch scratch;
  scan_pool(in, scratch);
}

struct Pool {
  Memory alpha, beta;

  Pool(const std::vector<float>& a, const std::vector<float>& b)
      : alpha(true, 4 * a.size()), beta(true, 4 * b.size()) {
    alpha.write(a.data(), 4 * a.size());
    beta.write(b.data(), 4 * b.size());
  }
};

// 8 rollouts a visit; settled prompts have 1 to 24 visits, so many of eight are unseen.
void fill(int64_t size, int unseen_of_eight, std::vector<float>& alpha, std::vector<float>& beta) {
  std::minstd_rand random(1);
  alpha.assign(static_cast<size_t>(size), 1);
  beta.assign(static_cast<size_t>(size), 1);
  for (size_t i = 0; i < alpha.size(); ++i) {
    if (static_cast<int>(random() / 16 % 8) < unseen_of_eight) continue;
    const unsigned rollouts = 8 * (1 + random() / 16 % 24), solved = random() / 16 % (rollouts + 1);
    alpha[i] += static_cast<float>(solved);
    beta[i] += static_cast<float>(rollouts - solved);
  }
}

using Call = std::function<void(const Pool&, cudaStream_t)>;

// Median and half the middle half's width of 15 replays, for one call.
struct Seconds {
  double median, spread;
};

Seconds time(const std::vector<const Pool*>& pools, int calls, const Call& call) {
  cudaStream_t stream;
  cudaGraph_t graph;
  cudaGraphExec_t instance;
  cudaEvent_t start, stop;
  CALL(cudaStreamCreate, &stream);
  CALL(cudaEventCreate, &start);
  CALL(cudaEventCreate, &stop);
  call(*pools[0], stream);  // loads the kernels, which a capture must not
  CALL(cudaStreamSynchronize, stream);
  CALL(cudaStreamBeginCapture, stream, cudaStreamCaptureModeGlobal);
  for (int i = 0; i < calls; ++i) call(*pools[static_cast<size_t>(i) % pools.size()], stream);
  CALL(cudaStreamEndCapture, stream, &graph);
  CALL(cudaGraphInstantiate, &instance, graph, 0);
  std::vector<double> seconds;
  for (int i = 0; i < 17; ++i) {
    CALL(cudaEventRecord, start, stream);
    CALL(cudaGraphLaunch, instance, stream);
    CALL(cudaEventRecord, stop, stream);
    CALL(cudaEventSynchronize, stop);
    float milliseconds = 0;
    CALL(cudaEventElapsedTime, &milliseconds, start, stop);
    if (i >= 2) seconds.push_back(milliseconds / 1e3 / calls);
  }
  CALL(cudaGraphExecDestroy, instance);
  CALL(cudaGraphDestroy, graph);
  CALL(cudaEventDestroy, start);
  CALL(cudaEventDestroy, stop);
  CALL(cudaStreamDestroy, stream);
  std::sort(seconds.begin(), seconds.end());
  return {seconds[7], (seconds[11] - seconds[3]) / 2};
}

void expect_done(const insight_outcome& outcome) {
  if (outcome.code == INSIGHT_DONE) return;
  std::printf("%s\n", insight_message());
  std::exit(1);
}

class Bench {
 public:
  Bench(const char* path, double seconds)
      : file_(std::fopen(path, "a")), seconds_(seconds) {
    if (!file_) {
      std::perror(path);
      std::exit(2);
    }
    expect_done(insight_device_name(&place_, device_, sizeof(device_)));
    CALL(cudaDeviceGetAttribute, &multiprocessors_, cudaDevAttrMultiProcessorCount, 0);
  }
  ~Bench() { std::fclose(file_); }

  void measure(int64_t size, const char* kind, int unseen_of_eight) {
    std::vector<float> alpha, beta;
    fill(size, unseen_of_eight, alpha, beta);
    const size_t bytes = 8 * alpha.size(), copies = std::min<size_t>(64, 1 + kNoCache / bytes);
    std::vector<std::unique_ptr<Pool>> held;
    std::vector<const Pool*> cold;
    for (size_t i = 0; i < copies; ++i) {
      held.push_back(std::make_unique<Pool>(alpha, beta));
      cold.push_back(held.back().get());
    }
    size_ = size;
    kind_ = kind;
    cold_ = std::move(cold);
    if (unseen_of_eight == 0) measure_memory();
    for (const int64_t k : {256, 4096}) measure_selection(k);
  }

 private:
  using Clock = std::chrono::steady_clock;

  void record(const char* what, int64_t k, int64_t bytes_moved, const Call& call) {
    for (const bool is_cold : {true, false}) {
      if (std::chrono::duration<double>(Clock::now() - begun_).count() > seconds_) return;
      const std::vector<const Pool*> pools = is_cold ? cold_ : std::vector<const Pool*>{cold_[0]};
      const int calls = size_ >= 100000000 ? 4 : size_ >= 10000000 ? 16 : 64;
      const Seconds seconds = time(pools, calls, call);
      char line[512];
      std::snprintf(line, sizeof(line),
                    "{\"what\": \"%s\", \"device\": \"%s\", \"n\": %lld, \"k\": %lld, \"pool\": \"%s\", "
                    "\"cache\": \"%s\", \"seconds\": %.4e, \"spread\": %.1e, "
                    "\"bytes_per_second\": %.4e}\n",
                    what, device_, static_cast<long long>(size_), static_cast<long long>(k), kind_,
                    is_cold ? "cold" : "warm", seconds.median, seconds.spread,
                    static_cast<double>(bytes_moved) / seconds.median);
      std::fputs(line, file_);
      std::fputs(line, stdout);
      std::fflush(file_);
      std::fflush(stdout);
    }
  }

  void measure_memory() {
    const size_t bytes = 4 * static_cast<size_t>(size_);
    const Memory target(true, 2 * bytes);
    record("copy", 0, 16 * size_, [&](const Pool& pool, cudaStream_t stream) {
      CALL(cudaMemcpyAsync, target.at<void>(), pool.alpha.at<void>(), bytes, cudaMemcpyDeviceToDevice,
           stream);
      CALL(cudaMemcpyAsync, target.at<void>(bytes), pool.beta.at<void>(), bytes,
           cudaMemcpyDeviceToDevice, stream);
    });
    record("sum", 0, 8 * size_, [&](const Pool& pool, cudaStream_t stream) {
      sum_kernel<<<8 * multiprocessors_, Tuning::kThreads, 0, stream>>>(
          pool.alpha.at<float4>(), pool.beta.at<float4>(), size_ / 4, target.at<float>());
    });
  }

  void measure_selection(int64_t k) {
    insight_request request{sizeof(request), {INSIGHT_WEIGHTED_INFORMATION, 3, {8, 3, 0.3}, 0, 0},
                            {nullptr, nullptr, size_, 0}, {}, {}, k, 1, true};
    int64_t bytes = 0;
    expect_done(insight_workspace_bytes(&request, &place_, &bytes));
    const Memory indices(true, 8 * static_cast<size_t>(k)), scores(true, 4 * static_cast<size_t>(k));
    const Memory outcome(true, sizeof(insight_outcome)), workspace(true, static_cast<size_t>(bytes));
    const insight_result result{sizeof(result), indices.at<int64_t>(), scores.at<float>(),
                                outcome.at<insight_outcome>(), workspace.at<void>(), bytes};
    const auto of = [&](const Pool& pool) {
      request.beliefs.alpha = pool.alpha.at<float>();
      request.beliefs.beta = pool.beta.at<float>();
      return request;
    };
    record("select", k, 8 * size_, [&](const Pool& pool, cudaStream_t stream) {
      const insight_request asked = of(pool);
      insight_place place = place_;
      place.stream = stream;
      expect_done(insight_select_top_k(&asked, &place, &result));
    });
    const auto begun = [&](bool scans) {
      return [&, scans](const Pool& pool, cudaStream_t stream) {
        Arguments arguments(of(pool), Tuning{}, workspace.at<Outcome>() + 1, outcome.at<Outcome>(),
                            result);
        void* parameters[] = {&arguments};
        CALL(cudaMemsetAsync, arguments.memory.progress, 0, sizeof(Progress), stream);
        const auto launch = [&](void (*kernel)(Arguments)) {
          CALL(cudaLaunchKernel, kernel, static_cast<unsigned>(multiprocessors_), Tuning::kThreads,
               parameters, 0, stream);
        };
        launch(sample_kernel);
        if (scans) launch(scan_kernel);
      };
    };
    record("sample", k, 0, begun(false));
    record("sample and scan", k, 8 * size_, begun(true));
  }

  const insight_place place_ = place_on("cuda");
  std::FILE* const file_;
  const double seconds_;
  const Clock::time_point begun_ = Clock::now();
  char device_[256] = "";
  int multiprocessors_ = 0;
  int64_t size_ = 0;
  const char* kind_ = "";
  std::vector<const Pool*> cold_;
};

}  // namespace

int main(int count, char** words) {
  if (count < 2) {
    std::printf("expected cuda_bench FILE [SECONDS], got no file\n");
    return 2;
  }
  Bench bench(words[1], count > 2 ? std::atof(words[2]) : 600);
  for (const int64_t size : {100000000, 1000000, 10000000}) bench.measure(size, "settled", 0);
  for (const int64_t size : {100000000, 1000000, 10000000}) {
    bench.measure(size, "unseen", 8);
    bench.measure(size, "half unseen", 4);
  }
}
