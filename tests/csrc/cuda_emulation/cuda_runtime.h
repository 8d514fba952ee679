// Just enough of CUDA, on a CPU, to run the back end's kernels as they are written.
//
// A block is an operating system thread, so blocks really run at the same time; the threads of a
// block are coroutines that switch where CUDA's threads wait for each other, in an order drawn at
// random from a seed, so that a missing barrier shows as a wrong answer. A barrier or a vote that
// not all threads reach is reported, never waited for.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <setjmp.h>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <ucontext.h>
#include <vector>

#define __global__
#define __device__
#define __grid_constant__
#define __launch_bounds__(...)
#define __noinline__
#define __forceinline__ inline
#define __shared__ static thread_local  // one operating system thread, one block

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

struct alignas(16) float4 {
  float x, y, z, w;
};

namespace emulation {

constexpr unsigned kLanes = 32;
constexpr size_t kStack = 256 * 1024;

struct Settings {
  int multiprocessors = 2;
  uint64_t seed = 0;  // of the order in which threads run
  int device_count = 1;
};
inline Settings settings;

struct Grid {
  dim3 blocks, threads;
};

// What the lanes of a warp tell each other at a vote.
struct Vote {
  const void* kind = nullptr;
  std::array<uint64_t, kLanes> values{}, result{};
  std::vector<unsigned> waiting;
};

class Block {
 public:
  Block(Grid& grid, unsigned index, const std::function<void()>& kernel)
      : grid_(grid), index_(index), kernel_(kernel), random_(settings.seed * 1000003 + index) {
    const unsigned count = grid.threads.x;
    threads_.resize(count);
    votes_.resize((count + kLanes - 1) / kLanes);
    stacks_.reset(new char[kStack * count]);  // left as it is: most of it is never touched
  }

  void run() {
    current_block = this;
    for (unsigned i = 0; i < threads_.size(); ++i) {
      ucontext_t& start = threads_[i].start;
      getcontext(&start);
      start.uc_stack.ss_sp = stacks_.get() + kStack * i;
      start.uc_stack.ss_size = kStack;
      start.uc_link = nullptr;
      makecontext(&start, &Block::enter, 0);
      ready_.push_back(i);
    }
    while (finished_ < threads_.size()) {
      if (ready_.empty()) fail("some threads wait for others that never come");
      const size_t pick = random_() % ready_.size();
      const unsigned next = ready_[pick];
      ready_[pick] = ready_.back();
      ready_.pop_back();
      wake(next);
    }
    current_block = nullptr;
  }

  void wait_for_block() {
    if (waiting_.size() + 1 < threads_.size()) {
      waiting_.push_back(running_);
      return sleep();
    }
    ready_.insert(ready_.end(), waiting_.begin(), waiting_.end());
    waiting_.clear();
  }

  // Every lane's value, once all have arrived.
  std::array<uint64_t, kLanes> vote(const void* kind, unsigned mask, uint64_t value) {
    if (mask != 0xffffffffu) fail("only votes of whole warps are emulated");
    Vote& vote = votes_[running_ / kLanes];
    if (vote.waiting.empty()) vote.kind = kind;
    if (vote.kind != kind) fail("lanes of a warp take part in different votes");
    vote.values[running_ % kLanes] = value;
    if (vote.waiting.size() + 1 < kLanes) {
      vote.waiting.push_back(running_);
      sleep();
    } else {
      vote.result = vote.values;  // stays until the last lane arrives at the next vote
      ready_.insert(ready_.end(), vote.waiting.begin(), vote.waiting.end());
      vote.waiting.clear();
    }
    return vote.result;
  }

  unsigned index() const { return index_; }
  unsigned thread() const { return running_; }
  Grid& grid() { return grid_; }

  static inline thread_local Block* current_block = nullptr;

 private:
  struct Thread {
    ucontext_t start;
    jmp_buf resume;
    bool started = false;
  };

  static void enter() {
    Block& block = *current_block;
    block.kernel_();
    ++block.finished_;
    _longjmp(block.scheduler_, 1);
  }

  // setjmp and longjmp, because swapcontext makes a system call.
  void sleep() {
    if (_setjmp(threads_[running_].resume) == 0) _longjmp(scheduler_, 1);
  }

  void wake(unsigned thread) {
    running_ = thread;
    if (_setjmp(scheduler_)) return;
    if (threads_[thread].started) _longjmp(threads_[thread].resume, 1);
    threads_[thread].started = true;
    setcontext(&threads_[thread].start);
  }

  [[noreturn]] static void fail(const char* what) {
    std::fprintf(stderr, "emulated kernel: %s\n", what);
    std::abort();
  }

  Grid& grid_;
  const unsigned index_;
  const std::function<void()>& kernel_;
  std::mt19937_64 random_;
  jmp_buf scheduler_;
  std::vector<Thread> threads_;
  std::vector<Vote> votes_;
  std::unique_ptr<char[]> stacks_;
  std::vector<unsigned> ready_, waiting_;
  unsigned running_ = 0;
  size_t finished_ = 0;
};

inline Block& block() { return *Block::current_block; }

inline void launch(dim3 blocks, dim3 threads, const std::function<void()>& kernel) {
  Grid grid{blocks, threads};
  std::vector<std::thread> running;
  for (unsigned i = 0; i < blocks.x; ++i) {
    running.emplace_back([&, i] { Block(grid, i, kernel).run(); });
  }
  for (std::thread& thread : running) thread.join();
}

template <class T>
uint64_t as_word(T value) {
  uint64_t word = 0;
  std::memcpy(&word, &value, sizeof(T));
  return word;
}

template <class T>
T from_word(uint64_t word) {
  T value;
  std::memcpy(&value, &word, sizeof(T));
  return value;
}

// The kinds of votes, told apart by address.
inline const char kWarp = 0, kBallot = 0, kShuffle = 0, kMatch = 0;

}  // namespace emulation

#define threadIdx (dim3(emulation::block().thread(), 0, 0))
#define blockIdx (dim3(emulation::block().index(), 0, 0))
#define gridDim (emulation::block().grid().blocks)
#define blockDim (emulation::block().grid().threads)

inline void __syncthreads() { emulation::block().wait_for_block(); }
inline void __threadfence() { std::atomic_thread_fence(std::memory_order_seq_cst); }
inline void __syncwarp() { emulation::block().vote(&emulation::kWarp, 0xffffffffu, 0); }

inline unsigned __ballot_sync(unsigned mask, bool predicate) {
  const auto values = emulation::block().vote(&emulation::kBallot, mask, predicate);
  unsigned set = 0;
  for (unsigned i = 0; i < emulation::kLanes; ++i) set |= static_cast<unsigned>(values[i]) << i;
  return set;
}
inline bool __any_sync(unsigned mask, unsigned predicate) {
  return __ballot_sync(mask, predicate != 0) != 0;
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source) {
  const auto values = emulation::block().vote(&emulation::kShuffle, mask, emulation::as_word(value));
  return emulation::from_word<T>(values[static_cast<unsigned>(source) % emulation::kLanes]);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, unsigned bits) {
  const unsigned lane = emulation::block().thread() % emulation::kLanes;
  return __shfl_sync(mask, value, static_cast<int>(lane ^ bits));
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance) {
  const unsigned lane = emulation::block().thread() % emulation::kLanes;
  return __shfl_sync(mask, value, static_cast<int>(lane < distance ? lane : lane - distance));
}
inline unsigned __match_any_sync(unsigned mask, unsigned value) {
  const auto values = emulation::block().vote(&emulation::kMatch, mask, value);
  unsigned same = 0;
  for (unsigned i = 0; i < emulation::kLanes; ++i) same |= unsigned{values[i] == value} << i;
  return same;
}

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }

template <class T>
T atomicAdd(T* where, T value) {
  return __atomic_fetch_add(where, value, __ATOMIC_RELAXED);
}
template <class T>
T atomicOr(T* where, T value) {
  return __atomic_fetch_or(where, value, __ATOMIC_RELAXED);
}
template <class T>
T atomicMax(T* where, T value) {
  T seen = __atomic_load_n(where, __ATOMIC_RELAXED);
  while (seen < value && !__atomic_compare_exchange_n(where, &seen, value, false, __ATOMIC_RELAXED,
                                                      __ATOMIC_RELAXED)) {
  }
  return seen;
}

// The host's side.
enum cudaError_t { cudaSuccess = 0, cudaErrorInsufficientDriver = 35, cudaErrorNoDevice = 100 };
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount };
using cudaStream_t = struct Stream*;
#define CUDART_VERSION 13000

inline const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorNoDevice ? "no CUDA-capable device is detected" : "no error";
}
inline cudaError_t cudaGetDeviceCount(int* count) {
  *count = emulation::settings.device_count;
  return *count ? cudaSuccess : cudaErrorNoDevice;
}
struct cudaDeviceProp {
  char name[32] = "emulated";
};
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp*, int) { return cudaSuccess; }
inline cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  *value = emulation::settings.multiprocessors;
  return cudaSuccess;
}
inline cudaError_t cudaMalloc(void** memory, size_t size) {
  *memory = std::malloc(size);
  return cudaSuccess;
}
inline cudaError_t cudaFree(void* memory) { return std::free(memory), cudaSuccess; }
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost };
inline cudaError_t cudaMemcpy(void* to, const void* from, size_t size, cudaMemcpyKind) {
  if (size > 0) std::memcpy(to, from, size);
  return cudaSuccess;
}

// What a stream is told is done at once, or, while it is captured, kept in a graph.
struct Graph {
  std::vector<std::function<void()>> work;
};
struct Stream {
  Graph* captured = nullptr;
};
using cudaGraph_t = Graph*;
using cudaGraphExec_t = Graph*;
enum cudaStreamCaptureMode { cudaStreamCaptureModeGlobal };

namespace emulation {
inline cudaError_t submit(Stream* stream, std::function<void()> work) {
  if (stream && stream->captured) {
    stream->captured->work.push_back(std::move(work));
  } else {
    work();
  }
  return cudaSuccess;
}
}  // namespace emulation

inline cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return *stream = new Stream, cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) { return delete stream, cudaSuccess; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  return stream->captured = new Graph, cudaSuccess;
}
inline cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = stream->captured;
  return stream->captured = nullptr, cudaSuccess;
}
inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* instance, cudaGraph_t graph, unsigned) {
  return *instance = new Graph(*graph), cudaSuccess;
}
inline cudaError_t cudaGraphLaunch(cudaGraphExec_t instance, cudaStream_t) {
  for (const auto& work : instance->work) work();
  return cudaSuccess;
}
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t instance) { return delete instance, cudaSuccess; }
inline cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return delete graph, cudaSuccess; }

inline cudaError_t cudaMemsetAsync(void* memory, int value, size_t size, cudaStream_t stream) {
  return emulation::submit(stream, [=] { std::memset(memory, value, size); });
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t size, cudaMemcpyKind,
                                   cudaStream_t stream) {
  return emulation::submit(stream, [=] { std::memcpy(to, from, size); });
}
template <class Argument>
cudaError_t cudaLaunchKernel(void (*kernel)(Argument), dim3 blocks, dim3 threads, void** arguments,
                             size_t, cudaStream_t stream) {
  const auto argument = *static_cast<const std::remove_const_t<Argument>*>(arguments[0]);
  return emulation::submit(
      stream, [=] { emulation::launch(blocks, threads, [&] { kernel(argument); }); });
}
