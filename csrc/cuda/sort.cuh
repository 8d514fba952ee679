// Sorting by merging: the largest Standing first.
#pragma once

#include "scratch.cuh"

namespace insight::cuda {

// Where items[i] goes when each 16 neighbouring sorted runs of items[0, count) become one. Standings
// differ, so that is its place in its own run plus the larger ones in the others.
__device__ inline int64_t merged_place(const Standing* items, int64_t count, int64_t run, int64_t i) {
  const Standing mine = items[i];
  const int64_t merged = run << Tuning::kRunBits;
  const int64_t mine_begins = i / run * run, begin = i / merged * merged;
  int64_t place = begin + (i - mine_begins);
  for (int64_t other = begin; other < count && other < begin + merged; other += run) {
    if (other == mine_begins) continue;
    int64_t low = other, high = other + run < count ? other + run : count;
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if (items[middle] > mine) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    place += low - other;
  }
  return place;
}

}  // namespace insight::cuda
