// THE order of candidates: score descending, then seeded hash descending, then index ascending.
//
// It is total, so the k best of a pool are one list, whoever computes it and in whatever pieces.
#pragma once

#include "portable.h"

namespace insight {

// x * factor, modulo 2^64.
template <class Word>
INSIGHT_HD Word times(Word x, uint64_t factor) {
  return x * factor;
}

// The finaliser of SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number
// generators", with Stafford's "variant 13" constants): a bijection of the 64-bit integers.
template <class Word>
INSIGHT_HD Word mix(Word z) {
  z = times(z ^ (z >> 30), 0xbf58476d1ce4e5b9u);
  z = times(z ^ (z >> 27), 0x94d049bb133111ebu);
  return z ^ (z >> 31);
}

constexpr uint64_t kGoldenGamma = 0x9e3779b97f4a7c15u;

// The seed is mixed before it meets the index, so that neighbouring seeds share nothing.
INSIGHT_HD uint64_t hash_key(uint64_t seed) { return mix(seed + kGoldenGamma); }

// For one key, different indices have different hashes (odd multiples, then a bijection).
INSIGHT_HD uint64_t tie_hash(uint64_t key, int64_t index) {
  return mix(key + static_cast<uint64_t>(index) * kGoldenGamma);
}

// The key under which index i has the hash that index first + i has under `key`: a part of a pool
// is ordered, and draws, as in the whole, with the arithmetic of a whole.
INSIGHT_HD uint64_t key_from(uint64_t key, int64_t first) {
  return key + static_cast<uint64_t>(first) * kGoldenGamma;
}

// What can be scored at all; NaN compares false.
INSIGHT_HD bool is_belief(float a, float b) {
  return (a > 0.0f) & (a < __builtin_huge_valf()) & (b > 0.0f) & (b < __builtin_huge_valf());
}

struct Ranked {
  float score;
  uint64_t hash;
  int64_t index;
};

INSIGHT_HD bool before(const Ranked& x, const Ranked& y) {
  if (x.score != y.score) return x.score > y.score;
  if (x.hash != y.hash) return x.hash > y.hash;
  return x.index < y.index;
}

// For algorithms, which inline an object's call but not a function pointer's.
struct Before {
  INSIGHT_HD bool operator()(const Ranked& x, const Ranked& y) const { return before(x, y); }
};

}  // namespace insight
