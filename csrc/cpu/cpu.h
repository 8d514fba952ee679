// The CPU back end's entry points.
#pragma once

#include "../back_end.h"
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

  // What a place may set.
  int64_t* named(const std::string& name) {
    return name == "block" ? &block : name == "least_per_thread" ? &least_per_thread :
           name == "sample_least" ? &sample_least : name == "sample_most" ? &sample_most :
           name == "sample_share" ? &sample_share : name == "sample_rank" ? &sample_rank :
           name == "capacity" ? &capacity : nullptr;
  }
};

// A place, read.
struct Settings {
  int64_t threads;
  const InstructionSet& instruction_set;
  Tuning tuning;
  bool (*is_stopped)();

  // ArgumentError for what this back end or this processor does not have.
  explicit Settings(const insight_place& place);
};

extern const BackEnd back_end;

// Arguments come checked (check.h). Other threads may change the beliefs meanwhile: then any answer
// may come or an outcome that names an invalid belief, but it does come, and every index in it is in
// the pool. Settings of the caller's floating-point arithmetic (flushed denormals, say) play no part.

// scores[i] = the reference score of belief i as float32. On failure scores are unspecified.
Outcome score(const Request& request, const Settings& settings, float* scores);

// The request.k first eligible prompts in THE order. Memory: O(k) a thread.
Outcome select_top_k(const Request& request, const Settings& settings, const Result& result);

// The request.k first of the `count` prompts that selections from the parts of a pool found.
Outcome merge_top_k(const Request& request, const int64_t* indices, const float* scores,
                    int64_t count, const Result& result);

}  // namespace insight::cpu
