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

}  // namespace insight
