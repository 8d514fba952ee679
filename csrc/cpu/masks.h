// A strip's candidates compared at once: bit i of the result tells about candidate i.
//
// As many at a time as fit a register of the instruction set that is compiled for. The intrinsics
// are always inlined, so this adds no function that another instruction set's code could share.
#pragma once

#include "../order.h"
#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace insight {

#if defined(__AVX512F__)
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
#elif defined(__AVX2__)
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
#else
typedef float Floats;
typedef uint64_t Words;
INSIGHT_HD Floats load(const float* at) { return *at; }
INSIGHT_HD uint64_t not_above(Floats x, Floats y) { return !(x > y); }
INSIGHT_HD uint64_t equal(Floats x, Floats y) { return x == y; }
INSIGHT_HD uint64_t at_least(Words x, Words y) { return x >= y; }
#endif

constexpr int kFloatLanes = sizeof(Floats) / sizeof(float);
constexpr int kWordLanes = sizeof(Words) / sizeof(uint64_t);

}  // namespace insight
