// As many doubles as fit a register of the instruction set that is compiled for; the portable
// formulas treat them as one Real, and each lane gets the bits that a scalar would.
#pragma once

#include "../portable.h"
#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace insight {

#if defined(__AVX512F__)
constexpr int kRegisterLanes = 8;
#elif defined(__AVX2__)
constexpr int kRegisterLanes = 4;
#else
constexpr int kRegisterLanes = 2;
#endif

typedef double Lanes __attribute__((vector_size(8 * kRegisterLanes)));
typedef uint64_t LaneBits __attribute__((vector_size(8 * kRegisterLanes)));
typedef float HalfLanes __attribute__((vector_size(4 * kRegisterLanes)));

typedef int64_t LaneMask __attribute__((vector_size(8 * kRegisterLanes)));

template <>
struct BitsOf<Lanes> {
  using type = LaneBits;
};

INSIGHT_HD bool any(LaneMask holds) {
#if defined(__AVX512F__)
  return _mm512_test_epi64_mask(reinterpret_cast<__m512i>(holds), reinterpret_cast<__m512i>(holds)) != 0;
#elif defined(__AVX2__)
  return _mm256_movemask_pd(reinterpret_cast<__m256d>(holds)) != 0;
#else
  return (holds[0] | holds[1]) != 0;
#endif
}

INSIGHT_HD LaneMask without(LaneMask all, LaneMask some) { return all & ~some; }

INSIGHT_HD Lanes square_root(Lanes x) {
  for (int i = 0; i < kRegisterLanes; ++i) x[i] = __builtin_sqrt(x[i]);
  return x;
}

}  // namespace insight
