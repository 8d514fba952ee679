// The CPU back end's entry points.
#pragma once

#include "../top_k.h"
#include "instruction_set.h"

namespace insight::cpu {

// Every tuning number of the back end. Results do not depend on any of them.
struct Tuning {
  int64_t block = 32768;          // candidates that a thread takes at a time
  int64_t least_per_thread = 65536;
  int64_t few_threads = 16;       // worth their start in every large pool; more than these only
  int64_t streamed_per_thread = int64_t{1} << 20;  // if each has so many candidates to stream
  int64_t sample_least = 4096;    // candidates looked at for a first threshold: 1 / sample_share
  int64_t sample_most = 16384;    // of the pool within these limits, or all of a small pool
  int64_t sample_share = 64;
  int64_t sample_rank = 0;        // 0: from k; tests force a threshold that is too high
  int64_t capacity = 0;           // survivors that may pile up in a thread; 0: from k
};

struct Settings {
  int threads = 1;
  InstructionSet instruction_set = best_instruction_set();
  Tuning tuning;
};

// The entry points throw ArgumentError (check.h) for what is outside its domain, before they touch
// anything. Other threads may change the beliefs meanwhile: then any answer may come or an outcome
// that names an invalid belief, but it does come, and every index in it is in the pool. Settings of
// the caller's floating-point arithmetic (flushed denormals, say) play no part.

// scores[i] = the reference score of belief i as float32. On failure scores are unspecified.
Outcome score(const AnyScore& score, const Beliefs& beliefs, const Settings& settings,
              float* scores);

// The request.k first eligible prompts in THE order. Memory: O(k) a thread.
Outcome select_top_k(const AnyScore& score, const Beliefs& beliefs, const Eligible& eligible,
                     const SelectionRequest& request, const Settings& settings,
                     const Selection& selection);

// The request.k first of the `count` prompts that selections from the parts of a pool found.
Outcome merge_top_k(const Selection& parts, int64_t count, const SelectionRequest& request,
                    const Selection& selection);

}  // namespace insight::cpu
