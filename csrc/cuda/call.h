// Every CUDA call goes through `check`, which turns an error into an exception with its name.
#pragma once

#include <cuda_runtime.h>

#include <string>

#include "cuda.h"

namespace insight::cuda {

inline void check(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return;
  std::string message = std::string(call) + ": " + cudaGetErrorString(error) + " (CUDA error " +
                        std::to_string(static_cast<int>(error)) + ")";
  if (error == cudaErrorNoDevice || error == cudaErrorInsufficientDriver) {
    message += "; expected a CUDA device and a driver for CUDA " +
               std::to_string(CUDART_VERSION / 1000) + " or newer; tensors on the CPU need neither";
  }
  throw DeviceError(message);
}

// Makes a device current, and the previous one again at the end. Where nothing changes nothing is
// set, since to set a device is to create a context on it.
class OnDevice {
 public:
  explicit OnDevice(int device) : device_(device) {
    int count = 0;
    check(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
    check(cudaGetDevice(&previous_), "cudaGetDevice");
    if (device_ != previous_) check(cudaSetDevice(device_), "cudaSetDevice");
  }
  ~OnDevice() {
    if (device_ != previous_) cudaSetDevice(previous_);  // it was current: nothing can be wrong
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  const int device_;
  int previous_ = 0;
};

inline int multiprocessors(int device) {
  int count = 0;
  check(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device),
        "cudaDeviceGetAttribute");
  return count;
}

}  // namespace insight::cuda
