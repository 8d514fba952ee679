// The exact threshold of the k best, digit by digit, for any number of candidates in any order.
#pragma once

#include "scan.cuh"

namespace insight::cuda {

// Finds the digit in which the wanted-th largest candidate falls, the rank it has among those
// with that digit, and how many they are.
__device__ __noinline__ inline void locate_digit(const unsigned long long* histogram, unsigned long long wanted,
                                    Located& located) {
  constexpr int kMine = Digit::kValues / Tuning::kThreads;
  const int top = Digit::kValues - 1 - kMine * static_cast<int>(threadIdx.x);
  unsigned long long mine = 0;
  for (int i = 0; i < kMine; ++i) mine += histogram[top - i];
  unsigned long long above = mine;  // becomes the sum of all larger digits
  for (unsigned i = 1; i < kWarp; i *= 2) {
    const unsigned long long lower = __shfl_up_sync(kAllLanes, above, i);
    if (lane() >= i) above += lower;
  }
  if (lane() == kWarp - 1) located.sums[threadIdx.x / kWarp] = above;
  __syncthreads();
  above -= mine;
  for (unsigned i = 0; i < threadIdx.x / kWarp; ++i) above += located.sums[i];
  if (above < wanted && wanted <= above + mine) {
    for (int i = 0; i < kMine; ++i) {
      const unsigned long long count = histogram[top - i];
      if (wanted <= above + count) {
        located.digit = top - i;
        located.wanted = wanted - above;
        located.count = count;
        break;
      }
      above += count;
    }
  }
  __syncthreads();
}

// The lowest Standing such that exactly k candidates are at or above it. They are those of
// `stored`, or, if that is null, the eligible ones of the pool, which then are scored again for
// every digit. At least k candidates are at or above `floor`.
template <class Score>
__device__ __noinline__ Standing exact_threshold(const Arguments<Score>& in, const Standing* stored,
                                    int64_t stored_count, Standing floor, BlockScratch& scratch,
                                    Located& located) {
  unsigned* const histogram = scratch.scan.histogram;
  unsigned long long wanted = static_cast<unsigned long long>(in.k);
  Standing prefix = 0;
  int digit = 0;
  while (digit < Digit::kCount) {
    for (int i = static_cast<int>(threadIdx.x); i < Digit::kValues; i += Tuning::kThreads) {
      histogram[i] = 0;
    }
    __syncthreads();
    const Standing lowest = Digit::lowest(prefix, digit);
    const Sink sink{lowest < floor ? floor : lowest, nullptr, 0, nullptr, histogram, digit};
    if (stored) {
      for (int64_t i = thread_in_grid(); i < stored_count; i += threads_in_grid()) {
        sink.tally(true, stored[i]);
      }
    } else {
      scan(in, scratch, sink, false);
    }
    __syncthreads();
    unsigned long long* const sums = in.memory.histograms[digit];
    for (int i = static_cast<int>(threadIdx.x); i < Digit::kValues; i += Tuning::kThreads) {
      if (histogram[i]) atomicAdd(&sums[i], static_cast<unsigned long long>(histogram[i]));
    }
    wait_for_grid();
    locate_digit(sums, wanted, located);
    prefix = prefix << Tuning::kDigitBits | static_cast<unsigned>(located.digit);
    wanted = located.wanted;
    ++digit;
    if (located.count == wanted) break;  // at the last digit both are 1
  }
  const Standing lowest = Digit::lowest(prefix, digit);
  return lowest < floor ? floor : lowest;
}

}  // namespace insight::cuda
