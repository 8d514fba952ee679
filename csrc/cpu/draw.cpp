#include "draw.h"

#include <algorithm>
#include <vector>

#include "../request.h"

namespace insight::cpu {
namespace {

// A set of non-negative integers: open addressing, at most half full.
class Places {
 public:
  explicit Places(int64_t capacity) {
    size_t slots = 16;
    while (slots < 2 * static_cast<size_t>(capacity)) slots *= 2;
    slots_.assign(slots, -1);
  }

  bool insert(int64_t place) {  // false if it was there
    const size_t mask = slots_.size() - 1;
    for (size_t i = mix(static_cast<uint64_t>(place)) & mask;; i = (i + 1) & mask) {
      if (slots_[i] == place) return false;
      if (slots_[i] < 0) {
        slots_[i] = place;
        return true;
      }
    }
  }

 private:
  std::vector<int64_t> slots_;
};

// An integer in [0, bound); its bias, bound / 2^64, is beyond detection.
int64_t below(int64_t bound, uint64_t random) {
  return static_cast<int64_t>((static_cast<unsigned __int128>(random) * bound) >> 64);
}

}  // namespace

void draw_distinct(int64_t size, int64_t count, uint64_t seed, uint64_t draw, int64_t* drawn) {
  const uint64_t key = draw_key(seed, draw);
  Places taken(count);
  for (int64_t last = size - count; last < size; ++last) {
    const int64_t place = below(last + 1, tie_hash(key, last));
    const bool is_new = taken.insert(place);
    if (!is_new) taken.insert(last);
    *drawn++ = is_new ? place : last;
  }
}

}  // namespace insight::cpu
