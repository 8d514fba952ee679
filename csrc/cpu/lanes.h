// Eight doubles that the portable formulas treat as one Real. The compiler maps them to whatever
// registers the surrounding function's instruction set has; each lane gets a scalar's bits.
#pragma once

#include "../portable.h"

namespace insight {

typedef double Lanes __attribute__((vector_size(64)));
typedef uint64_t LaneBits __attribute__((vector_size(64)));
typedef float HalfLanes __attribute__((vector_size(32)));

constexpr int kLanes = 8;

template <>
struct BitsOf<Lanes> {
  using type = LaneBits;
};

}  // namespace insight
