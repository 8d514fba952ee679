// Distinct places, drawn uniformly without looking at the others.
#pragma once

#include <cstdint>

namespace insight::cpu {

// Writes `count` distinct integers in [0, size), every set equally likely, in no particular order.
// The same arguments draw the same. Cost: O(count), independent of size.
// Source: R. Floyd's algorithm, in Bentley and Floyd 1987, "A sample of brilliance".
void draw_distinct(int64_t size, int64_t count, uint64_t seed, uint64_t draw, int64_t* drawn);

}  // namespace insight::cpu
