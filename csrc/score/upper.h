// Cheap float32 arithmetic for upper bounds: a few units in 1e-6 of relative error, which the
// bounds' margins cover. These values decide only what is looked at more closely, never a score,
// so back ends may differ in them.
#pragma once

#include "../portable.h"

namespace insight {

constexpr float kUnbounded = __builtin_huge_valf();

// Whether neither n nor 1 / n leaves float32; where it does, a bound gives up.
INSIGHT_HD bool is_ordinary(float n) { return (n > 1e-30f) & (n < 1e38f); }

// ln(1 + x) for x >= 0, relative error 8e-6; on CUDA up to 7e-5 too large for small x.
INSIGHT_HD float rough_log1p(float x) {
#if defined(__CUDA_ARCH__)
  // lg2.approx errs by 2^-22 absolutely near 1, so a Taylor series, an upper bound, serves there.
  if (x < 0.0625f) return x - x * x * (0.5f - x * 0.333333343f);
  return __log2f(1.0f + x) * 0.693147182f;
#else
  const float u = 1.0f + x;
  const float lost = u < 2.0f ? x - (u - 1.0f) : 0.0f;
  const uint32_t shifted = bit_cast<uint32_t>(u) + (0x3f800000u - 0x3f3504f3u);
  const float e = static_cast<float>(static_cast<int32_t>(shifted >> 23) - 127);
  const float f = bit_cast<float>((shifted & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
  float series = -0.142915532f;
  series = series * f + 0.220557779f;
  series = series * f - 0.254033327f;
  series = series * f + 0.332580358f;
  series = series * f - 0.499902159f;
  series = series * f + 1.00000453f;
  return e * 0.693147182f + (f * series + lost);
#endif
}

// e^x for x <= 0, relative error 3e-6, on CUDA 1.3e-5; at least e^-87.
INSIGHT_HD float rough_exp(float x) {
  x = x > -87.0f ? x : -87.0f;
#if defined(__CUDA_ARCH__)
  return __expf(x);
#else
  const float shifted = x * 1.44269502f + 12582912.0f;  // 1.5 * 2^23: rounds to an integer
  const float r = x - (shifted - 12582912.0f) * 0.693147182f;
  float series = 0.0414585395f;
  series = series * r + 0.167909071f;
  series = series * r + 0.500043571f;
  series = series * r + 0.999963403f;
  series = series * r + 0.999999285f;
  return bit_cast<float>(bit_cast<uint32_t>(series) + (bit_cast<uint32_t>(shifted) << 23));
#endif
}

}  // namespace insight
