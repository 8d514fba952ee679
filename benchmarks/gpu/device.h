// Memory and errors of a GPU, for the drivers of this folder.
#pragma once

#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "../../csrc/insight.h"

inline insight_place place_on(const char* device) {
  insight_place place{};
  place.bytes = sizeof(place);
  place.device = device;
  place.threads = 1;
  return place;
}

inline void expect_success(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return;
  std::printf("%s: %s\n", call, cudaGetErrorString(error));
  std::exit(1);
}
#define CALL(function, ...) expect_success(function(__VA_ARGS__), #function)

// Bytes on the GPU, or on the host where the CPU's back end is asked.
class Memory {
 public:
  Memory(bool on_gpu, size_t bytes) : on_gpu_(on_gpu), bytes_(bytes) {
    if (on_gpu_) {
      CALL(cudaMalloc, &data_, bytes_ + 1);
    } else {
      data_ = std::malloc(bytes_ + 1);
    }
  }
  ~Memory() { on_gpu_ ? static_cast<void>(cudaFree(data_)) : std::free(data_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  void write(const void* from, size_t bytes, size_t offset = 0) {
    char* const to = static_cast<char*>(data_) + offset;
    if (on_gpu_) {
      CALL(cudaMemcpy, to, from, bytes, cudaMemcpyHostToDevice);
    } else if (bytes > 0) {
      std::memcpy(to, from, bytes);
    }
  }
  void read(void* to, size_t bytes) const {
    if (on_gpu_) {
      CALL(cudaMemcpy, to, data_, bytes, cudaMemcpyDeviceToHost);
    } else if (bytes > 0) {
      std::memcpy(to, data_, bytes);
    }
  }
  template <class T>
  T* at(size_t offset = 0) const {
    return reinterpret_cast<T*>(static_cast<char*>(data_) + offset);
  }
  size_t bytes() const { return bytes_; }

 private:
  const bool on_gpu_;
  const size_t bytes_;
  void* data_ = nullptr;
};
