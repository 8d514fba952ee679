// Sorting of Standings, largest first: in shared memory by one block, in device memory by all.
#pragma once

#include "scratch.cuh"

namespace insight::cuda {

__device__ inline int power_of_two_from(int64_t count) {
  int size = 1;
  while (size < count) size *= 2;
  return size;
}

// Fills keys[count, size) with kNobody, for the next power of two, and sorts. A bitonic network;
// the whole block calls it, and sees the result when it returns.
__device__ __noinline__ inline void sort_block(Standing* keys, int64_t count) {
  const int size = power_of_two_from(count);
  for (int i = static_cast<int>(count + threadIdx.x); i < size; i += Tuning::kThreads) {
    keys[i] = kNobody;
  }
  __syncthreads();
  for (int width = 2; width <= size; width *= 2) {
    for (int stride = width / 2; stride > 0; stride /= 2) {
      for (int pair = static_cast<int>(threadIdx.x); pair < size / 2; pair += Tuning::kThreads) {
        const int low = 2 * pair - (pair & (stride - 1)), high = low + stride;
        const Standing x = keys[low], y = keys[high];
        const bool falling = !(low & width);
        if (x < y ? falling : !falling) {
          keys[low] = y;
          keys[high] = x;
        }
      }
      __syncthreads();
    }
  }
}

// Merges neighbouring sorted runs from[0, count) into runs of twice the length. Standings differ,
// so an element's place is its place in its own run plus the larger ones in the other run.
__device__ inline void merge_runs(const Standing* from, Standing* into, int64_t count,
                                  int64_t run) {
  for (int64_t i = thread_in_grid(); i < count; i += threads_in_grid()) {
    const int64_t both = i / (2 * run) * (2 * run), own = i / run * run;
    const int64_t other = own == both ? both + run : both;
    const int64_t end = other + run < count ? other + run : count;
    const Standing mine = from[i];
    int64_t low = other, high = end > other ? end : other;
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if (from[middle] > mine) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    into[both + (i - own) + (low - other)] = mine;
  }
}

// Sorts items[0, count); `spare` has room for as many. Returns the one that holds the result,
// visible to the whole grid.
__device__ __noinline__ inline Standing* sort_grid(Standing* items, Standing* spare, int64_t count,
                                      Standing* shared) {
  for (int64_t start = int64_t{blockIdx.x} * Tuning::kSortable; start < count;
       start += int64_t{gridDim.x} * Tuning::kSortable) {
    const int64_t left = count - start, size = left < Tuning::kSortable ? left : Tuning::kSortable;
    for (int64_t i = threadIdx.x; i < size; i += Tuning::kThreads) shared[i] = items[start + i];
    sort_block(shared, size);
    for (int64_t i = threadIdx.x; i < size; i += Tuning::kThreads) items[start + i] = shared[i];
    __syncthreads();
  }
  wait_for_grid();
  for (int64_t run = Tuning::kSortable; run < count; run *= 2) {
    merge_runs(items, spare, count, run);
    wait_for_grid();
    Standing* const merged = spare;
    spare = items;
    items = merged;
  }
  return items;
}

}  // namespace insight::cuda
