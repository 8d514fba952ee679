// The k best of any number of Standings in any order, digit by digit, by one block.
#pragma once

#include "scratch.cuh"

namespace insight::cuda {

// Calls visit(item) for all of items[0, count), and for kNobody to fill up warps, which call it together.
template <class Visit>
__device__ inline void for_all(const Standing* items, int64_t count, const Visit& visit) {
  for (int64_t start = 0; start < count; start += Tuning::kBatch * Tuning::kThreads) {
    Standing batch[Tuning::kBatch];
#pragma unroll
    for (int i = 0; i < Tuning::kBatch; ++i) {
      const int64_t place = start + i * Tuning::kThreads + threadIdx.x;
      batch[i] = place < count ? items[place] : kNobody;
    }
#pragma unroll
    for (int i = 0; i < Tuning::kBatch; ++i) visit(batch[i]);
  }
}

// Finds the digit in which the wanted-th largest candidate falls, 0 if there are not so many. Each
// thread looks at some neighbouring digits; the one that finds it notes it for the block.
__device__ inline void locate(Radix& radix, unsigned wanted) {
  constexpr int kMine = Digit::kValues / Tuning::kThreads;
  const int top = Digit::kValues - 1 - kMine * static_cast<int>(threadIdx.x);
  unsigned mine = 0;
  for (int i = 0; i < kMine; ++i) mine += radix.counts[top - i];
  unsigned above = mine;
  for (unsigned i = 1; i < kWarp; i *= 2) {
    const unsigned before = __shfl_up_sync(kAllLanes, above, i);
    if (lane() >= i) above += before;
  }
  if (lane() == kWarp - 1) radix.of_warp[threadIdx.x / kWarp] = above;
  __syncthreads();
  above -= mine;  // now the sum of all larger digits
  for (unsigned i = 0; i < threadIdx.x / kWarp; ++i) above += radix.of_warp[i];
  const bool has_zero = threadIdx.x == Tuning::kThreads - 1;
  if (above < wanted && (wanted <= above + mine || has_zero)) {
    int digit = top;
    while (digit > 0 && wanted > above + radix.counts[digit]) above += radix.counts[digit--];
    radix.digit = static_cast<unsigned>(digit);
    radix.wanted = wanted - above;
    radix.count = radix.counts[digit];
  }
  __syncthreads();
}

// Copies the k best of items[0, count), which differ, to best[0, k) in any order. Returns a Standing
// that they, and no others, are at or above; kNobody if there are no more than k.
__device__ __noinline__ inline Standing take_best(const Standing* items, int64_t count, int64_t k,
                                                  Standing* best, Radix& radix) {
  Standing prefix = 0;
  int digits = 0;
  unsigned wanted = static_cast<unsigned>(k), found = static_cast<unsigned>(count);
  while (digits < Digit::kCount && found > wanted) {
    for (int i = static_cast<int>(threadIdx.x); i < Digit::kValues; i += Tuning::kThreads) {
      radix.counts[i] = 0;
    }
    __syncthreads();
    for_all(items, count, [&](Standing item) {
      const Standing longer = Digit::prefix(item, digits + 1);
      if (longer >> Tuning::kDigitBits != prefix || item == kNobody) return;
      atomicAdd(&radix.counts[static_cast<unsigned>(longer) % Digit::kValues], 1u);
    });
    __syncthreads();
    locate(radix, wanted);
    prefix = prefix << Tuning::kDigitBits | radix.digit;
    wanted = radix.wanted;
    found = radix.count;
    ++digits;
  }
  const Standing lowest = Digit::lowest(prefix, digits);
  if (threadIdx.x == 0) radix.taken = 0;
  __syncthreads();
  for_all(items, count, [&](Standing item) {
    const bool has = item != kNobody && item >= lowest;
    const int64_t place = claim(has, &radix.taken);
    if (has && place < k) best[place] = item;
  });
  __syncthreads();
  return lowest;
}

}  // namespace insight::cuda
