// AVX2: 32 bytes at a time (masks.h).
#pragma once

#include <immintrin.h>

#include "../../order.h"

namespace insight {

typedef __m256 Floats;
typedef uint64_t Words __attribute__((vector_size(32)));
INSIGHT_HD Floats load(const float* at) { return _mm256_loadu_ps(at); }
INSIGHT_HD uint64_t not_above(Floats x, Floats y) {
  return static_cast<uint64_t>(_mm256_movemask_ps(_mm256_cmp_ps(x, y, _CMP_NGT_UQ)));
}
INSIGHT_HD uint64_t equal(Floats x, Floats y) {
  return static_cast<uint64_t>(_mm256_movemask_ps(_mm256_cmp_ps(x, y, _CMP_EQ_OQ)));
}
INSIGHT_HD uint64_t at_least(Words x, Words y) {
  return static_cast<uint64_t>(_mm256_movemask_pd(reinterpret_cast<__m256d>(x >= y)));
}
// There is no 64-bit maximum: that of each half (masks.h).
INSIGHT_HD Words larger_upper(Words x, Words y) {
  return reinterpret_cast<Words>(
      _mm256_max_epu32(reinterpret_cast<__m256i>(x), reinterpret_cast<__m256i>(y)));
}
// Nor a 64-bit product: that of the lower halves, and on its upper half the two crosswise.
template <>
INSIGHT_HD Words times(Words x, uint64_t factor) {
  const __m256i whole = reinterpret_cast<__m256i>(x);
  const __m256i factors = _mm256_set1_epi64x(static_cast<int64_t>(factor));
  const __m256i crossed =
      _mm256_mullo_epi32(whole, _mm256_set1_epi64x(static_cast<int64_t>(factor << 32 | factor >> 32)));
  const __m256i both = _mm256_add_epi32(crossed, _mm256_slli_epi64(crossed, 32));
  const __m256i upper = _mm256_blend_epi32(_mm256_setzero_si256(), both, 0xaa);
  return reinterpret_cast<Words>(_mm256_add_epi64(_mm256_mul_epu32(whole, factors), upper));
}

}  // namespace insight
