// The CUDA back end's entry points. They launch on the caller's stream, allocate nothing and wait
// for nothing, so a CUDA graph can capture them.
#pragma once

#include <string>

#include "../back_end.h"

namespace insight::cuda {

// Every tuning number of the back end. Results do not depend on any of them.
struct Tuning {
  static constexpr int kThreads = 512;  // of a block; a multiprocessor holds one
  static constexpr int kLoads = 4;      // 16-byte loads in flight, a thread and array
  static constexpr int kRemembered = 32;  // scores a warp remembers
  static constexpr int kDigitBits = 12;   // of the radix selection
  static constexpr int kBatch = 8;        // loads in flight of one that selects
  static constexpr int kSamples = 2048;   // candidates that the sample leaves
  static constexpr int kRunBits = 4;      // 16 sorted runs are merged into one
  static constexpr int kRoom = 2 * kThreads;  // survivors that a block finds in one round, at most

  int64_t unsampled = 16384;      // pools up to this size are scored as a whole
  int64_t sample_share = 64;      // the sample is 1 / sample_share of the pool, or less:
  int64_t sample_most = 65536;    //   at most this many, and
  int64_t sample_expected = 64;   //   so few that about this many of them are among the k best
  int64_t sample_rank = 0;        // 0: from k; tests force thresholds that are too high or low
  int64_t least_capacity = 65536; // survivors that there is room for: this,
  int64_t capacity_factor = 4;    //   this times the expected number, whichever is more
  int64_t capacity = 0;           // 0: from the two above; tests force an overflow

  // What a place may set.
  int64_t* named(const std::string& name) {
    return name == "unsampled" ? &unsampled : name == "sample_rank" ? &sample_rank :
           name == "capacity" ? &capacity : nullptr;
  }
};

// A device and one of its streams (a cudaStream_t).
struct Queue {
  int device;
  void* stream;
};

extern const BackEnd back_end;

// Arguments come checked (check.h), and all pointers are to memory of the device. Beliefs that change
// while a kernel runs may give any answer or outcome, but it comes, and every index in it is in the
// pool.

// How much device memory select_top_k needs for these sizes, aligned to 16 bytes: O(k), one bit of each
// belief for each list, and 8 bytes of each listed candidate.
int64_t workspace_bytes(const Request& request, const Tuning& tuning);

// The request.k first eligible prompts in THE order. Unless the outcome becomes INSIGHT_DONE, all
// selected indices become -1 and all scores NaN.
void select_top_k(const Request& request, const Tuning& tuning, const Queue& queue,
                  void* workspace, Outcome* outcome, const Result& result);

// scores[i] = the reference score of belief i as float32, NaN where the belief is invalid.
void score(const Request& request, const Queue& queue, Outcome* outcome, float* scores);

}  // namespace insight::cuda
