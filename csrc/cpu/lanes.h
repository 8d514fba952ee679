// As many doubles as fit a register of the instruction set that is compiled for; the portable
// formulas treat them as one Real, and each lane gets the bits that a scalar would.
#pragma once

#include "../portable.h"

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

template <>
struct BitsOf<Lanes> {
  using type = LaneBits;
};

}  // namespace insight
