// NEON (64-bit Arm): 16 bytes at a time (masks.h).
#pragma once

#include <arm_neon.h>

#include "../../order.h"

namespace insight {

typedef float32x4_t Floats;
typedef uint64x2_t Words;
INSIGHT_HD Floats load(const float* at) { return vld1q_f32(at); }
// The lowest bit of the first lane's mask, the second of the second's...
INSIGHT_HD uint64_t bits_of(uint32x4_t mask) {
  const uint32x4_t places = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(mask, places));
}
// !(x > y), which NaN makes true.
INSIGHT_HD uint64_t not_above(Floats x, Floats y) { return bits_of(vmvnq_u32(vcgtq_f32(x, y))); }
INSIGHT_HD uint64_t equal(Floats x, Floats y) { return bits_of(vceqq_f32(x, y)); }
INSIGHT_HD uint64_t at_least(Words x, Words y) {
  const uint64x2_t mask = vcgeq_u64(x, y), places = {1, 2};
  return vaddvq_u64(vandq_u64(mask, places));
}
INSIGHT_HD Words larger_upper(Words x, Words y) { return larger(x, y); }

}  // namespace insight
