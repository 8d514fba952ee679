// Any processor: one at a time (masks.h).
#pragma once

#include "../../order.h"

namespace insight {

typedef float Floats;
typedef uint64_t Words;
INSIGHT_HD Floats load(const float* at) { return *at; }
INSIGHT_HD uint64_t not_above(Floats x, Floats y) { return !(x > y); }
INSIGHT_HD uint64_t equal(Floats x, Floats y) { return x == y; }
INSIGHT_HD uint64_t at_least(Words x, Words y) { return x >= y; }
INSIGHT_HD Words larger_upper(Words x, Words y) { return larger(x, y); }

}  // namespace insight
