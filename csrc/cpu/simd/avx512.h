// AVX-512: 64 bytes at a time (masks.h).
#pragma once

#include <immintrin.h>

#include "../../order.h"

namespace insight {

typedef __m512 Floats;
typedef uint64_t Words __attribute__((vector_size(64)));
INSIGHT_HD Floats load(const float* at) { return _mm512_loadu_ps(at); }
// !(x > y), which NaN makes true.
INSIGHT_HD uint64_t not_above(Floats x, Floats y) {
  return _mm512_cmp_ps_mask(x, y, _CMP_NGT_UQ);
}
INSIGHT_HD uint64_t equal(Floats x, Floats y) { return _mm512_cmp_ps_mask(x, y, _CMP_EQ_OQ); }
INSIGHT_HD uint64_t at_least(Words x, Words y) {
  return _mm512_cmp_epu64_mask(reinterpret_cast<__m512i>(x), reinterpret_cast<__m512i>(y),
                               _MM_CMPINT_NLT);
}
INSIGHT_HD Words larger_upper(Words x, Words y) { return larger(x, y); }

}  // namespace insight
