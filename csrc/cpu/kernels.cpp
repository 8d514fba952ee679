// See kernels.h. INSIGHT_KERNELS is the name of the instruction set that this is compiled for.
// Nothing but this project's headers and builtins may be used here.
#include "kernels.h"

#include "../order.h"
#include "../score/any.h"
#include "lanes.h"

namespace insight::cpu {

using insight_kernels::Cut;
using insight_kernels::Kernels;
using insight_kernels::kLanes;
using insight_kernels::kStrip;
using insight_kernels::Prepared;

template <class Score>
const Score& unwrap(const Prepared* prepared) {
  static_assert(sizeof(Score) <= sizeof(Prepared), "Prepared has room for every score");
  return *reinterpret_cast<const Score*>(prepared->bytes);
}

// Of the tied candidates, drops those whose hash comes after the cut's. True if any flag stays.
template <class Index>
inline bool drop_lost_ties(const Cut& cut, uint64_t key, const float* __restrict a,
                           const float* __restrict b, int size, Index index,
                           uint8_t* __restrict flags) {
  uint8_t behind[kStrip];
  for (int i = 0; i < size; ++i) behind[i] = tie_hash(key, index(i)) < cut.hash;
  int some = 0;
  for (int i = 0; i < size; ++i) {
    const int tied = (a[i] == cut.a) & (b[i] == cut.b);
    const int keep = flags[i] & !(tied & behind[i]);
    flags[i] = static_cast<uint8_t>(keep);
    some |= keep;
  }
  return some;
}

// From the cheapest test to the dearest: most strips end after the first.
template <class Score>
bool filter_strip(const Score& score, const Cut& cut, float limit, uint64_t key,
                  const float* __restrict a, const float* __restrict b, const int64_t* indices,
                  int64_t first, int size, uint8_t* __restrict flags, bool& invalid) {
  int noticed = 0;
  for (int i = 0; i < size; ++i) {
    const float n = a[i] + b[i];
    noticed |= !((a[i] > 0.0f) & (b[i] > 0.0f) & (n > limit) & (n < __builtin_huge_valf()));
  }
  if (!noticed) {
    memset(flags, 0, static_cast<size_t>(size));
    return false;
  }
  int bad = 0, near = 0, ties = 0;
  for (int i = 0; i < size; ++i) {
    const int tied = (a[i] == cut.a) & (b[i] == cut.b);
    bad |= !is_belief(a[i], b[i]);
    near |= !tied & !(a[i] + b[i] > limit);
    ties |= tied;
    flags[i] = static_cast<uint8_t>(tied);
  }
  invalid = bad;
  int some = ties;
  if (near) {
    for (int i = 0; i < size; ++i) {
      const int pass = !(score.bound(a[i], b[i]) < cut.score);
      flags[i] = static_cast<uint8_t>(pass);
      some |= pass;
    }
  }
  if (!ties) return some;
  if (indices) return drop_lost_ties(cut, key, a, b, size, [=](int i) { return indices[i]; }, flags);
  return drop_lost_ties(cut, key, a, b, size, [=](int i) { return first + i; }, flags);
}

template <class Score>
int filter(const Prepared* prepared, const Cut* cut_, uint64_t key, const float* a, const float* b,
           const int64_t* indices, int64_t first, int count, uint8_t* flags) {
  const Score score = unwrap<Score>(prepared);
  const Cut cut = *cut_;
  const float limit = score.evidence_limit(cut.score);
  uint32_t strips = 0;
  for (int start = 0; start < count; start += kStrip) {
    const int size = count - start < kStrip ? count - start : kStrip;
    bool invalid = false;
    const bool some =
        filter_strip(score, cut, limit, key, a + start, b + start,
                     indices ? indices + start : nullptr, first + start, size, flags + start,
                     invalid);
    if (invalid) return insight_kernels::kInvalid;
    strips |= uint32_t{some} << (start / kStrip);
  }
  return static_cast<int>(strips);
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
  if constexpr (Score::kPerIndex) {
    for (int64_t i = 0; i < count; ++i) {
      out[i] = static_cast<float>(score(double(a[i]), double(b[i]), indices[i])) + 0.0f;
    }
  } else {
    static_cast<void>(indices);
    for (int64_t i = 0; i < count; i += kRegisterLanes) {
      HalfLanes narrow_a, narrow_b;
      memcpy(&narrow_a, a + i, sizeof(HalfLanes));
      memcpy(&narrow_b, b + i, sizeof(HalfLanes));
      const Lanes wide = score(__builtin_convertvector(narrow_a, Lanes),
                               __builtin_convertvector(narrow_b, Lanes));
      const HalfLanes narrow = __builtin_convertvector(wide, HalfLanes) + 0.0f;
      memcpy(out + i, &narrow, sizeof(HalfLanes));
    }
  }
}

template <class Score>
void prepare(const double* parameters, uint64_t seed, uint64_t draw, Prepared* prepared) {
  const Score score = Score::from(parameters, seed, draw);
  memcpy(prepared->bytes, &score, sizeof(Score));
}

template <class Score>
const Kernels& kernels_of() {
  static constexpr Kernels kernels{Score::kPerIndex, prepare<Score>, filter<Score>, bounds<Score>,
                                   reference<Score>};
  return kernels;
}

}  // namespace insight::cpu

const insight_kernels::Kernels& insight_kernels::INSIGHT_KERNELS(int kind) {
  return insight::with_score_type(static_cast<insight::ScoreKind>(kind), [](auto type) -> const Kernels& {
    return insight::cpu::kernels_of<typename decltype(type)::type>();
  });
}
