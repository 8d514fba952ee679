// See kernels.h. INSIGHT_KERNELS is the name of the instruction set that this is compiled for.
// Nothing but this project's headers, builtins and intrinsics may be used here.
#include "kernels.h"

#include "lanes.h"  // first: the formulas find its functions of registers

#include "../order.h"
#include "../score/any.h"
#include "masks.h"

namespace insight::cpu {

using insight_kernels::Cut;
using insight_kernels::kFew;
using insight_kernels::Kernels;
using insight_kernels::kLanes;
using insight_kernels::kStrip;
using insight_kernels::Prepared;

template <class Score>
const Score& unwrap(const Prepared* prepared) {
  static_assert(sizeof(Score) <= sizeof(Prepared), "Prepared has room for every score");
  return *reinterpret_cast<const Score*>(prepared->bytes);
}

struct Strip {
  const float* a;
  const float* b;
  const int64_t* indices;  // null where candidate i is prompt first + i
  int64_t first;
};

// Little evidence, and what may be no belief at all.
struct Noticed {
  uint64_t near, odd;
};

// What may come before the cut, and what is no belief.
struct Verdict {
  uint64_t ahead, invalid;
};

inline Noticed notice(const Strip& strip, float limit) {
  const Floats zero{}, least = zero + limit, infinite = zero + __builtin_huge_valf();
  Noticed noticed{0, 0};
  for (int i = 0; i < kStrip; i += kFloatLanes) {
    const Floats a = load(strip.a + i), b = load(strip.b + i), n = a + b;
    noticed.near |= not_above(n, least) << i;
    noticed.odd |= (not_above(smaller(a, b), zero) | not_above(infinite, n)) << i;
  }
  return noticed;
}

inline uint64_t equal_to(const Strip& strip, const Cut& cut) {
  const Floats zero{}, cut_a = zero + cut.a, cut_b = zero + cut.b;
  uint64_t tied = 0;
  for (int i = 0; i < kStrip; i += kFloatLanes) {
    tied |= (equal(load(strip.a + i), cut_a) & equal(load(strip.b + i), cut_b)) << i;
  }
  return tied;
}

template <class Score>
uint64_t within_bound(const Score& score, const Strip& strip, const Cut& cut) {
  float bounds[kStrip];
  for (int i = 0; i < kStrip; ++i) bounds[i] = score.bound(strip.a[i], strip.b[i]);
  const Floats zero{}, least = zero + cut.score;
  uint64_t within = 0;
  for (int i = 0; i < kStrip; i += kFloatLanes) within |= not_above(least, load(bounds + i)) << i;
  return within;
}

// A strip of ties, seen by their bits: quicker than what `notice` and `equal_to` would find.
inline bool all_equal_to(const Strip& strip, const Cut& cut) {
  if (cut.a != cut.a) return false;
  const auto twice = [](float x) { return bit_cast<uint32_t>(x) * 0x100000001u; };
  const Words zero{}, cut_a = zero + twice(cut.a), cut_b = zero + twice(cut.b);
  Words other = zero;
  for (int i = 0; i < kStrip; i += 2 * kWordLanes) {
    Words a, b;
    memcpy(&a, strip.a + i, sizeof(a));
    memcpy(&b, strip.b + i, sizeof(b));
    other |= (a ^ cut_a) | (b ^ cut_b);
  }
  return !at_least(other, zero + 1);
}

// Those whose hash does not come after the cut's.
inline uint64_t ahead_by_hash(const Strip& strip, const Cut& cut, uint64_t key) {
  uint64_t ahead = 0;
  if (strip.indices) {
    for (int i = 0; i < kStrip; ++i) {
      ahead |= uint64_t{tie_hash(key, strip.indices[i]) >= cut.hash} << i;
    }
    return ahead;
  }
  uint64_t each[kWordLanes];
  for (int i = 0; i < kWordLanes; ++i) {
    each[i] = key + static_cast<uint64_t>(strip.first + i) * kGoldenGamma;
  }
  const Words zero{}, least = zero + cut.hash;
  Words first, most = zero;
  memcpy(&first, each, sizeof(each));
  constexpr uint64_t kStep = kWordLanes * kGoldenGamma;
  if (cut.hash >> 58 == 63) {  // fewer than one of a strip: is there any, by its upper half?
    Words z = first;
#pragma GCC unroll 4
    for (int i = 0; i < kStrip; i += kWordLanes, z += kStep) most = larger_upper(most, mix(z));
    if (!at_least(most | 0xffffffffu, least)) return 0;
  }
  for (int i = 0; i < kStrip; i += kWordLanes, first += kStep) {
    ahead |= at_least(mix(first), least) << i;
  }
  return ahead;
}

// What the cheapest test noticed, decided by the dearer ones. Of a few candidates with little
// evidence the bound is left to the caller, who works it out for many strips at once.
template <class Score>
__attribute__((noinline)) Verdict decide(const Score& score, const Strip& strip, const Cut& cut,
                                         uint64_t key, const Noticed& noticed) {
  uint64_t invalid = 0;
  for (uint64_t odd = noticed.odd; odd; odd &= odd - 1) {
    const int i = __builtin_ctzll(odd);
    invalid |= uint64_t{!is_belief(strip.a[i], strip.b[i])} << i;
  }
  const uint64_t tied = noticed.near & equal_to(strip, cut);
  uint64_t near = noticed.near & ~tied;
  if (__builtin_popcountll(near) > kFew) near &= within_bound(score, strip, cut);
  return {near | (tied ? tied & ahead_by_hash(strip, cut, key) : 0), invalid};
}

template <class Score>
int filter(const Prepared* prepared, const Cut* cut_, uint64_t key, const float* a, const float* b,
           const int64_t* indices, int64_t first, int count, uint64_t* flags) {
  const Score score = unwrap<Score>(prepared);
  const Cut cut = *cut_;
  bool near_run = false;  // all of the strip before were near
  const auto filter_strip = [&](const Strip& strip) -> Verdict {
    if (near_run && all_equal_to(strip, cut)) return {ahead_by_hash(strip, cut, key), 0};
    const Noticed noticed = notice(strip, cut.evidence);
    near_run = noticed.near == ~uint64_t{0};
    if (!(noticed.near | noticed.odd)) return {0, 0};
    return decide(score, strip, cut, key, noticed);
  };
  int start = 0;
  for (; start + kStrip <= count; start += kStrip) {
    const Verdict verdict = filter_strip(
        {a + start, b + start, indices ? indices + start : nullptr, first + start});
    if (verdict.invalid) return start + __builtin_ctzll(verdict.invalid);
    *flags++ = verdict.ahead;
  }
  if (start < count) {  // the last, shorter strip: repeats of its first candidate fill it up
    // Each belief is read once: another thread may change it, and a repeat must not tell.
    float last_a[kStrip], last_b[kStrip];
    int64_t last_indices[kStrip];
    const int left = count - start;
    for (int i = 0; i < kStrip; ++i) {
      last_a[i] = i < left ? a[start + i] : last_a[0];
      last_b[i] = i < left ? b[start + i] : last_b[0];
      last_indices[i] = indices ? indices[start + (i < left ? i : 0)] : first + start + i;
    }
    const uint64_t real = (uint64_t{1} << left) - 1;
    const Verdict verdict = filter_strip({last_a, last_b, last_indices, 0});
    if (verdict.invalid) return start + __builtin_ctzll(verdict.invalid);
    *flags = real & verdict.ahead;
  }
  return count;
}

template <class Score>
float evidence_limit(const Prepared* prepared, float threshold) {
  return unwrap<Score>(prepared).evidence_limit(threshold);
}

template <class Score>
void bounds(const Prepared* prepared, const float* a, const float* b, int64_t count,
            float* __restrict out) {
  const Score score = unwrap<Score>(prepared);
  for (int64_t i = 0; i < count; ++i) out[i] = score.bound(a[i], b[i]);
}

// Adding zero turns -0 into +0, so that equal scores have equal bits.
template <class Score>
void reference(const Prepared* prepared, const float* a, const float* b, const int64_t* indices,
               int64_t count, float* out) {
  const Score& score = unwrap<Score>(prepared);
  for (int64_t i = 0; i < count; i += kRegisterLanes) {
    HalfLanes narrow_a, narrow_b;
    LaneBits index;
    memcpy(&narrow_a, a + i, sizeof(HalfLanes));
    memcpy(&narrow_b, b + i, sizeof(HalfLanes));
    memcpy(&index, indices + i, sizeof(LaneBits));
    const Lanes wide_a = __builtin_convertvector(narrow_a, Lanes);
    const Lanes wide_b = __builtin_convertvector(narrow_b, Lanes);
    Lanes wide;
    if constexpr (Score::kPerIndex) {
      wide = score(wide_a, wide_b, index);
    } else {
      wide = score(wide_a, wide_b);
    }
    const HalfLanes narrow = __builtin_convertvector(wide, HalfLanes) + 0.0f;
    memcpy(out + i, &narrow, sizeof(HalfLanes));
  }
}

template <class Score>
void prepare(const double* parameters, uint64_t key, Prepared* prepared) {
  const Score score = Score::from(parameters, key);
  memcpy(prepared->bytes, &score, sizeof(Score));
}

template <class Score>
const Kernels& kernels_of() {
  static constexpr Kernels kernels{Score::kPerIndex, prepare<Score>, evidence_limit<Score>,
                                   filter<Score>, bounds<Score>, reference<Score>};
  return kernels;
}

}  // namespace insight::cpu

const insight_kernels::Kernels& insight_kernels::INSIGHT_KERNELS(int kind) {
  return insight::with_score_type(kind, [](auto type) -> const Kernels& {
    return insight::cpu::kernels_of<typename decltype(type)::type>();
  });
}
