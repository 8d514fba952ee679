// Arithmetic with the same bits on every back end.
//
// Only IEEE 754 additions, multiplications, divisions, square roots and integer operations on the
// bit pattern are used, each correctly rounded, and no two are ever contracted into a fused one
// (compile with -ffp-contract=off, and --fmad=false for nvcc). libm is avoided because its
// results differ between hosts and devices.
//
// `Real` is double, or on a CPU a pack of doubles (cpu/lanes.h): the formulas are written once.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define INSIGHT_HD __host__ __device__ __forceinline__
#else
#define INSIGHT_HD inline __attribute__((always_inline))
#endif

namespace insight {

// The bit pattern of a Real, as the unsigned integer type that matches it lane by lane.
template <class Real>
struct BitsOf;

template <>
struct BitsOf<double> {
  using type = uint64_t;
};

template <>
struct BitsOf<float> {
  using type = uint32_t;
};

template <class Real>
using Bits = typename BitsOf<Real>::type;

template <class To, class From>
INSIGHT_HD To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From), "bit_cast keeps the size");
  To to;
  memcpy(&to, &from, sizeof(To));
  return to;
}

template <class Real>
INSIGHT_HD Real broadcast(double x) {
  return Real{} + x;
}

// What comparing gives: for each lane of a Real whether it holds.
template <class Real>
using Mask = decltype(Real{} < Real{});

INSIGHT_HD bool any(bool holds) { return holds; }
INSIGHT_HD bool without(bool all, bool some) { return all & !some; }

template <class Holds, class Value>
INSIGHT_HD Value choose(Holds holds, Value x, Value y) {
  return holds ? x : y;
}

template <class Real>
INSIGHT_HD Real smaller(Real x, Real y) {
  return choose(x < y, x, y);
}

template <class Real>
INSIGHT_HD Real larger(Real x, Real y) {
  return choose(x < y, y, x);
}

// An integer below 2^53, without rounding: its halves are put into numbers of a known exponent.
template <class Real>
INSIGHT_HD Real whole(Bits<Real> x) {
  constexpr uint64_t kTwo52 = 0x4330000000000000, kTwo84 = 0x4530000000000000;
  const Real high = bit_cast<Real>((x >> 32) | kTwo84), low = bit_cast<Real>((x & 0xffffffffu) | kTwo52);
  return (high - 0x1p84) + (low - 0x1p52);
}

// Correctly rounded everywhere.
INSIGHT_HD double square_root(double x) {
#if defined(__CUDA_ARCH__)
  return __dsqrt_rn(x);
#else
  return __builtin_sqrt(x);
#endif
}

// ln(u) + c, for a normal positive u and a correction c that is small beside ln(u) or beside 1.
//
// u = 2^e m with m in [sqrt(1/2), sqrt(2)), and ln(m) = 2 artanh(z), z = (m - 1) / (m + 1),
// by its Taylor series; z^2 <= 0.0295, so ten terms leave 2e-17.
// Accuracy: 2 units in the last place (tests/csrc/arithmetic.cpp).
template <class Real>
INSIGHT_HD Real log_with_correction(Real u, Real c) {
  constexpr uint64_t kOne = 0x3ff0000000000000, kSqrtHalf = 0x3fe6a09e667f3bcd;
  constexpr uint64_t kMantissa = 0x000fffffffffffff, kTwo52 = 0x4330000000000000;
  constexpr double kLn2High = 6.93147180369123816490e-01, kLn2Low = 1.90821492927058770002e-10;
  const Bits<Real> shifted = bit_cast<Bits<Real>>(u) + (kOne - kSqrtHalf);
  const Real e = bit_cast<Real>((shifted >> 52) | kTwo52) - (4503599627370496.0 + 1023.0);
  const Real m = bit_cast<Real>((shifted & kMantissa) + kSqrtHalf);
  const Real f = m - 1.0;
  const Real z = f / (f + 2.0);
  const Real w = z * z;
  Real series = broadcast<Real>(1.0 / 19.0);
  series = series * w + 1.0 / 17.0;
  series = series * w + 1.0 / 15.0;
  series = series * w + 1.0 / 13.0;
  series = series * w + 1.0 / 11.0;
  series = series * w + 1.0 / 9.0;
  series = series * w + 1.0 / 7.0;
  series = series * w + 1.0 / 5.0;
  series = series * w + 1.0 / 3.0;
  const Real log_m = (z + z) + (z + z) * (w * series);
  return e * kLn2High + (log_m + (e * kLn2Low + c));
}

// ln(x) for x positive and normal.
template <class Real>
INSIGHT_HD Real log(Real x) {
  return log_with_correction(x, Real{});
}

// ln(u) where u is 1 + y rounded: near 1, y still knows what the rounding of u lost.
template <class Real>
INSIGHT_HD Real log_of_sum(Real u, Real y) {
  const Real lost = y - (u - 1.0);
  return log_with_correction(u, choose((u < 2.0) & (u > 0.5), lost, Real{}));
}

// ln(1 + y) for y >= 0, with full relative accuracy however small y is.
template <class Real>
INSIGHT_HD Real log1p(Real y) {
  return log_of_sum(y + 1.0, y);
}

// e^x for x in [-700, 700]; smaller x give e^-700, which no float32 result can tell from 0.
//
// x = k ln2 + r, |r| <= ln2 / 2, and e^r by its Taylor series: 14 terms leave 4e-18.
// Accuracy: 2 units in the last place (tests/csrc/arithmetic.cpp).
template <class Real>
INSIGHT_HD Real exp(Real x) {
  constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer
  constexpr double kLn2High = 6.93147180369123816490e-01, kLn2Low = 1.90821492927058770002e-10;
  x = larger(x, broadcast<Real>(-700.0));
  const Real shifted = x * 1.44269504088896338700 + kRound;
  const Real k = shifted - kRound;
  const Real r = (x - k * kLn2High) - k * kLn2Low;
  Real series = broadcast<Real>(1.0 / 6227020800.0);
  series = series * r + 1.0 / 479001600.0;
  series = series * r + 1.0 / 39916800.0;
  series = series * r + 1.0 / 3628800.0;
  series = series * r + 1.0 / 362880.0;
  series = series * r + 1.0 / 40320.0;
  series = series * r + 1.0 / 5040.0;
  series = series * r + 1.0 / 720.0;
  series = series * r + 1.0 / 120.0;
  series = series * r + 1.0 / 24.0;
  series = series * r + 1.0 / 6.0;
  series = series * r + 0.5;
  series = series * r + 1.0;
  const Real mantissa = series * r + 1.0;
  return bit_cast<Real>(bit_cast<Bits<Real>>(mantissa) + (bit_cast<Bits<Real>>(shifted) << 52));
}

}  // namespace insight
