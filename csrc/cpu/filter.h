// The streaming pass's inner loop: which candidates of a chunk may still enter the selection.
#pragma once

#include "../order.h"
#include "../top_k.h"

namespace insight::cpu {

constexpr int kChunk = 1024;  // candidates filtered at a time; their flags stay in the L1 cache
constexpr int kStrip = 64;    // candidates that the cheapest test accepts or rejects together

// The worst member that a selection may still have, and the belief it has. Nothing that comes
// after `worst` in the order is wanted. Beliefs equal to (a, b) score exactly worst.score, so
// among them the hash decides; NaN in `a` switches that off.
struct Cut {
  Ranked worst;
  float a, b;
};

enum FilterResult : int { kNothing = 0, kSome = 1, kInvalid = 2 };

// Sets flags[i] to 1 where candidate i may come before the cut, to 0 where it cannot, for
// i < count <= kChunk. Candidate i is prompt indices[i], or first + i where indices is null.
// Returns kSome if any flag is set, with kInvalid if any belief is invalid.
template <class Score>
struct Filter {
  INSIGHT_HD static int run(const Score* score, const Cut* cut, const float* a, const float* b,
                            const int64_t* indices, int64_t first, int count, uint64_t key,
                            uint8_t* __restrict flags) {
    const Score s = *score;
    const Cut c = *cut;
    const float threshold = c.worst.score;
    const float limit = s.evidence_limit(threshold);
    int result = kNothing;
    for (int start = 0; start < count; start += kStrip) {
      const int size = count - start < kStrip ? count - start : kStrip;
      const float* __restrict strip_a = a + start;
      const float* __restrict strip_b = b + start;
      uint8_t* __restrict strip = flags + start;
      int invalid = 0, within = 0, other = 0;
      for (int i = 0; i < size; ++i) {
        invalid |= !is_belief(strip_a[i], strip_b[i]);
        within |= !(strip_a[i] + strip_b[i] > limit);
        other |= (strip_a[i] != c.a) | (strip_b[i] != c.b);
      }
      if (invalid) result |= kInvalid;
      if (!within) {
        memset(strip, 0, static_cast<size_t>(size));
        continue;
      }
      int some = 0;
      if (other) {
        int tied = 0;
        for (int i = 0; i < size; ++i) {
          const int equal = (strip_a[i] == c.a) & (strip_b[i] == c.b);
          const int pass = !(s.bound(strip_a[i], strip_b[i]) < threshold);
          strip[i] = static_cast<uint8_t>(pass);
          some |= pass;
          tied |= equal;
        }
        if (tied) {
          for (int i = 0; i < size; ++i) {
            const int equal = (strip_a[i] == c.a) & (strip_b[i] == c.b);
            const int64_t index = indices ? indices[start + i] : first + start + i;
            const int lost = equal & (tie_hash(key, index) < c.worst.hash);
            strip[i] = static_cast<uint8_t>(strip[i] & !lost);
          }
        }
      } else if (indices) {
        for (int i = 0; i < size; ++i) {
          const int pass = tie_hash(key, indices[start + i]) >= c.worst.hash;
          strip[i] = static_cast<uint8_t>(pass);
          some |= pass;
        }
      } else {
        for (int i = 0; i < size; ++i) {
          const int pass = tie_hash(key, first + start + i) >= c.worst.hash;
          strip[i] = static_cast<uint8_t>(pass);
          some |= pass;
        }
      }
      if (some) result |= kSome;
    }
    return result;
  }
};

// out[i] = an upper bound of candidate i's score.
template <class Score>
struct Bounds {
  INSIGHT_HD static int run(const Score* score, const float* a, const float* b, int64_t count,
                            float* __restrict out) {
    const Score s = *score;
    for (int64_t i = 0; i < count; ++i) out[i] = s.bound(a[i], b[i]);
    return 0;
  }
};

}  // namespace insight::cpu
