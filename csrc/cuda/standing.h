// A candidate's place in THE order as one 96-bit number: the larger one comes first.
//
// The tie hash is a bijection of the index, so score and hash say everything: the index is
// recovered from the hash, and no two candidates are equal.
#pragma once

#include "../order.h"

namespace insight::cuda {

__extension__ typedef unsigned __int128 Standing;

// The bits of a float (never NaN, never -0) as an integer that rises with it, and back.
INSIGHT_HD uint32_t rising(float x) {
  const uint32_t bits = bit_cast<uint32_t>(x);
  return bits ^ (bits >> 31 ? 0xffffffffu : 0x80000000u);
}

INSIGHT_HD float from_rising(uint32_t bits) {
  return bit_cast<float>(bits >> 31 ? bits ^ 0x80000000u : ~bits);
}

INSIGHT_HD Standing standing(float score, uint64_t hash) {
  return static_cast<Standing>(rising(score)) << 64 | hash;
}

INSIGHT_HD float score_of(Standing x) { return from_rising(static_cast<uint32_t>(x >> 64)); }
INSIGHT_HD uint64_t hash_of(Standing x) { return static_cast<uint64_t>(x); }

constexpr Standing kNobody = 0;                              // after every candidate: padding
constexpr Standing kLowest = Standing{0x007fffffu} << 64;    // score -infinity: keeps everybody

// The index whose tie hash under `key` is `hash`: mix() and the odd multiple undone.
INSIGHT_HD int64_t index_of(uint64_t key, uint64_t hash) {
  uint64_t z = hash ^ hash >> 31 ^ hash >> 62;
  z *= 0x319642b2d24d8ec3u;
  z ^= z >> 27 ^ z >> 54;
  z *= 0x96de1b173f119089u;
  z ^= z >> 30 ^ z >> 60;
  return static_cast<int64_t>((z - key) * 0xf1de83e19937733du);
}

// The same candidate as a 96-bit number that falls with the index, for answers by index.
INSIGHT_HD Standing by_index(Standing x, uint64_t key) {
  const uint64_t index = static_cast<uint64_t>(index_of(key, hash_of(x)));
  return static_cast<Standing>(~index) << 32 | static_cast<uint32_t>(x >> 64);
}

// Digits of a Standing, most significant first, for the radix selection.
template <int kBits>
struct Digits {
  static constexpr int kCount = 96 / kBits;
  static constexpr int kValues = 1 << kBits;
  static_assert(96 % kBits == 0);

  // The first `digits` digits as a number.
  INSIGHT_HD static Standing prefix(Standing x, int digits) { return x >> (96 - kBits * digits); }
  // The lowest Standing with that prefix.
  INSIGHT_HD static Standing lowest(Standing prefix, int digits) {
    return prefix << (96 - kBits * digits);
  }
};

}  // namespace insight::cuda
