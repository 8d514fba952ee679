// A strip's candidates compared at once: bit i of the result tells about candidate i.
//
// As many at a time as fit a register of the instruction set that is compiled for. The intrinsics
// are always inlined, so this adds no function that another instruction set's code could share.
//
// larger_upper(x, y) has the larger one's upper half in each lane; its lower half may be of neither.
#pragma once

#if defined(__AVX512F__)
#include "simd/avx512.h"
#elif defined(__AVX2__)
#include "simd/avx2.h"
#elif defined(INSIGHT_NEON)
#include "simd/neon.h"
#else
#include "simd/scalar.h"
#endif

namespace insight {

constexpr int kFloatLanes = sizeof(Floats) / sizeof(float);
constexpr int kWordLanes = sizeof(Words) / sizeof(uint64_t);

}  // namespace insight
