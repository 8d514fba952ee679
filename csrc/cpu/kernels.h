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
constexpr int kStrip = 64;    // candidates filtered together, a bit of a word for each
constexpr int kFew = 8;       // candidates of a strip whose bounds are not worth a strip's work

// A score with its constants worked out.
struct Prepared {
  alignas(16) unsigned char bytes[128];
};

// What a candidate must not come after: a score, and among the beliefs equal to (a, b), whose score
// is known, a hash (the largest one drops them all). NaN in `a` switches the latter off. Nothing with
// more evidence than this reaches the score.
struct Cut {
  float score, evidence;
  uint64_t hash;
  float a, b;
};

struct Kernels {
  bool per_index;  // the score depends on the prompt's index, not on its belief alone

  void (*prepare)(const double* parameters, uint64_t key, Prepared* score);

  // No candidate with more evidence a + b than this scores `threshold` or more.
  float (*evidence_limit)(const Prepared* score, float threshold);

  // Bit i % kStrip of flags[i / kStrip] is 1 where candidate i may come before the cut, 0 where it
  // cannot, for i < count <= kChunk. Candidate i is prompt indices[i], or first + i where indices
  // is null. Returns how many candidates come before the first invalid belief, count if there is
  // none; the flags tell about those strips alone that lie wholly before it.
  int (*filter)(const Prepared* score, const Cut* cut, uint64_t key, const float* a,
                const float* b, const int64_t* indices, int64_t first, int count,
                uint64_t* flags);

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
const Kernels& neon(int kind);

}  // namespace insight_kernels
