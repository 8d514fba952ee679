// The exact threshold of the k best, digit by digit, for any number of candidates in any order.
#pragma once

#include "scan.cuh"

namespace insight::cuda {

// A radix selection under way, in shared memory. For each digit the block opens a histogram,
// tallies into it all candidates at or above lowest() that share its leading digits, and closes it.
class RadixSelection {
 public:
  // At least `wanted` candidates are at or above `floor`.
  __device__ void begin(int64_t wanted, Standing floor) {
    if (threadIdx.x == 0) {
      wanted_ = static_cast<unsigned long long>(wanted);
      floor_ = floor;
      prefix_ = 0;
      digit_ = 0;
    }
    __syncthreads();
  }

  __device__ Sink open(unsigned* histogram) const {
    for (int i = static_cast<int>(threadIdx.x); i < Digit::kValues; i += Tuning::kThreads) {
      histogram[i] = 0;
    }
    __syncthreads();
    return {lowest(), nullptr, 0, nullptr, histogram, digit_};
  }

  // Adds up the histograms of all blocks and moves on by a digit. True if no more than `wanted`
  // candidates are at or above lowest() now: exactly `wanted`, unless the beliefs changed between
  // two digits. At the last digit it is true in any case, since no two candidates are equal.
  __device__ __noinline__ bool close(const unsigned* histogram, const Workspace& memory) {
    __syncthreads();
    unsigned long long* const sums = memory.histograms[digit_];
    for (int i = static_cast<int>(threadIdx.x); i < Digit::kValues; i += Tuning::kThreads) {
      if (histogram[i]) atomicAdd(&sums[i], static_cast<unsigned long long>(histogram[i]));
    }
    wait_for_grid();
    locate(sums);
    return count_ <= wanted_;
  }

  // As `close`, of the block's own candidates.
  __device__ void close_in_block(const unsigned* histogram) {
    __syncthreads();
    locate(histogram);
  }

  __device__ Standing lowest() const {
    const Standing lowest = Digit::lowest(prefix_, digit_);
    return lowest < floor_ ? floor_ : lowest;
  }

 private:
  // Finds the digit in which the wanted-th largest candidate falls, 0 if there are not so many.
  // Each thread looks at some neighbouring digits; the one that finds it notes it for the block.
  template <class Count>
  __device__ void locate(const Count* sums) {
    constexpr int kMine = Digit::kValues / Tuning::kThreads;
    const int top = Digit::kValues - 1 - kMine * static_cast<int>(threadIdx.x);
    const unsigned long long wanted = wanted_;
    unsigned long long mine = 0;
    for (int i = 0; i < kMine; ++i) mine += sums[top - i];
    unsigned long long above = mine;
    for (unsigned i = 1; i < kWarp; i *= 2) {
      const unsigned long long before = __shfl_up_sync(kAllLanes, above, i);
      if (lane() >= i) above += before;
    }
    if (lane() == kWarp - 1) of_warp_[threadIdx.x / kWarp] = above;
    __syncthreads();
    above -= mine;  // now the sum of all larger digits
    for (unsigned i = 0; i < threadIdx.x / kWarp; ++i) above += of_warp_[i];
    const bool has_zero = threadIdx.x == Tuning::kThreads - 1;
    if (above < wanted && (wanted <= above + mine || has_zero)) {
      int digit = top;
      while (digit > 0 && wanted > above + sums[digit]) above += sums[digit--];
      wanted_ = wanted - above;
      count_ = sums[digit];
      prefix_ = prefix_ << Tuning::kDigitBits | static_cast<unsigned>(digit);
      ++digit_;
    }
    __syncthreads();
  }

  unsigned long long wanted_;  // of the candidates with the prefix, so many
  unsigned long long count_;   //   among so many
  Standing floor_, prefix_;
  int digit_;
  unsigned long long of_warp_[kWarps];
};

}  // namespace insight::cuda
