// The CPU's inner loops, one set of them per instruction set.
//
// kernels.cpp is compiled once per set, with that set's flags and with namespace insight renamed
// (-Dinsight=insight_avx512): every inline function that it could emit is then its own, and no code
// for a newer processor can be linked into what an older one runs. This header's namespace keeps
// its name everywhere; only plain types cross it.
#pragma once

#include <cstdint>

namespace insight_kernels {

constexpr int kLanes = 8;     // candidates scored together
constexpr int kChunk = 1024;  // candidates filtered at a time; their flags stay in the L1 cache
constexpr int kStrip = 64;    // candidates that the cheapest test rejects together

// A score with its constants worked out.
struct Prepared {
  alignas(16) unsigned char bytes[128];
};

// What a candidate must not come after: score, then hash. Beliefs equal to (a, b) score exactly
// `score`, so among them the hash decides; NaN in `a` switches that off.
struct Cut {
  float score;
  uint64_t hash;
  float a, b;
};

constexpr int kInvalid = -1;

struct Kernels {
  bool per_index;  // the score depends on the prompt's index, not on its belief alone

  void (*prepare)(const double* parameters, uint64_t seed, uint64_t draw, Prepared* score);

  // flags[i] = 1 where candidate i may come before the cut, 0 where it cannot, for
  // i < count <= kChunk. Candidate i is prompt indices[i], or first + i where indices is null.
  // Returns a bit for each strip, set if any of its flags is, or kInvalid if any belief is invalid
  // (then the flags say nothing).
  int (*filter)(const Prepared* score, const Cut* cut, uint64_t key, const float* a,
                const float* b, const int64_t* indices, int64_t first, int count, uint8_t* flags);

  // out[i] = an upper bound of candidate i's score, or NaN.
  void (*bounds)(const Prepared* score, const float* a, const float* b, int64_t count, float* out);

  // out[i] = the reference score of candidate i rounded to float32; count a multiple of kLanes.
  void (*score)(const Prepared* score, const float* a, const float* b, const int64_t* indices,
                int64_t count, float* out);
};

// The loops for one score kind (score/any.h).
const Kernels& portable(int kind);
const Kernels& avx2(int kind);
const Kernels& avx512(int kind);

}  // namespace insight_kernels
