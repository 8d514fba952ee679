// One thread's part of the streaming pass: filter a chunk, score what the filter leaves, keep what
// comes before the cut, raise the cut as better candidates pile up.
#pragma once

#include <atomic>
#include <mutex>

#include "candidates.h"
#include "instruction_set.h"
#include "score_batch.h"
#include "survivors.h"

namespace insight::cpu {

// Before this nothing is lost.
constexpr Ranked kLowest{-kUnbounded, 0, std::numeric_limits<int64_t>::max()};

// The cut that all threads share; it only ever rises.
class SharedCut {
 public:
  explicit SharedCut(const Ranked& worst) : worst_(worst) {}

  void raise(const Ranked& worst) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!before(worst, worst_)) return;
    worst_ = worst;
    version_.fetch_add(1, std::memory_order_release);
  }

  // True if the cut was raised since `version`; then both arguments are brought up to date.
  bool refresh(uint64_t& version, Ranked& worst) {
    if (version_.load(std::memory_order_acquire) == version) return false;
    const std::lock_guard<std::mutex> lock(mutex_);
    version = version_.load(std::memory_order_relaxed);
    worst = worst_;
    return true;
  }

 private:
  std::mutex mutex_;
  Ranked worst_;
  std::atomic<uint64_t> version_{1};
};

// What the threads of one pass have in common.
struct Pass {
  const Candidates& candidates;
  InstructionSet instruction_set;
  uint64_t key;  // of the tie hash
  SharedCut cut;
  FirstFault bad_belief, bad_candidate;

  Pass(const Candidates& candidates, InstructionSet set, uint64_t key, const Ranked& worst)
      : candidates(candidates), instruction_set(set), key(key), cut(worst) {}
};

template <class Score>
class Scan {
 public:
  Scan(const Score& score, Pass& pass, Survivors& survivors)
      : score_(score), pass_(pass), survivors_(survivors) {}

  void visit(int64_t begin, int64_t end) {
    for (int64_t place = begin; place < end; place += kChunk) {
      if (place > pass_.bad_belief.place() || place > pass_.bad_candidate.place()) return;
      visit_chunk(place, static_cast<int>(end - place < kChunk ? end - place : kChunk));
    }
  }

  void finish() { score_pending(); }

 private:
  static constexpr int kPending = 64;
  static constexpr int kKnown = 256;

  struct Known {
    float a = 0, b = 0, score = 0;  // no belief is (0, 0)
  };

  void visit_chunk(int64_t place, int count) {
    Ranked worst;
    if (pass_.cut.refresh(version_, worst)) set_cut(worst);
    const Chunk chunk = pass_.candidates.load(place, count, gathered_, pass_.bad_candidate);
    const int result = run<Filter<Score>>(
        pass_.instruction_set, &score_, static_cast<const Cut*>(&cut_), chunk.a, chunk.b,
        chunk.indices, chunk.first, chunk.count, pass_.key, static_cast<uint8_t*>(flags_));
    if (result & kInvalid) {
      int i = 0;
      while (is_belief(chunk.a[i], chunk.b[i])) ++i;
      pass_.bad_belief.note(place + i);
      return;
    }
    if (!(result & kSome)) return;
    for (int start = 0; start < chunk.count; start += 8) {
      uint64_t eight = 0;
      memcpy(&eight, flags_ + start, static_cast<size_t>(std::min(8, chunk.count - start)));
      for (; eight; eight &= eight - 1) {
        const int i = start + lowest_byte(eight);
        meet(chunk.a[i], chunk.b[i], chunk.index(i));
      }
    }
  }

  static int lowest_byte(uint64_t word) { return __builtin_ctzll(word) / 8; }

  // A candidate that the filter let through.
  void meet(float a, float b, int64_t index) {
    if (!pass_.candidates.is_eligible(index)) return;
    if constexpr (!Score::kPerIndex) {
      const Known& known = known_[slot(a, b)];
      if (known.a == a && known.b == b) return rank(known.score, index);
    }
    pending_a_[pending_] = a;
    pending_b_[pending_] = b;
    pending_index_[pending_] = index;
    if (++pending_ == kPending) score_pending();
  }

  void score_pending() {
    if (pending_ == 0) return;
    int padded = pending_;
    for (; padded % kLanes; ++padded) {
      pending_a_[padded] = pending_a_[0];
      pending_b_[padded] = pending_b_[0];
      pending_index_[padded] = pending_index_[0];
    }
    float scores[kPending];
    run<ScoreBatch<Score>>(pass_.instruction_set, &score_, static_cast<const float*>(pending_a_),
                           static_cast<const float*>(pending_b_),
                           static_cast<const int64_t*>(pending_index_), int64_t{padded},
                           static_cast<float*>(scores));
    const int count = pending_;
    pending_ = 0;
    for (int i = 0; i < count; ++i) {
      known_[slot(pending_a_[i], pending_b_[i])] = {pending_a_[i], pending_b_[i], scores[i]};
      rank(scores[i], pending_index_[i]);
    }
  }

  // Beliefs repeat (all unseen prompts share the prior, and counts are small integers), so the
  // latest scores are remembered.
  static size_t slot(float a, float b) {
    const uint32_t word = bit_cast<uint32_t>(a) * 0x9e3779b1u ^ bit_cast<uint32_t>(b) * 0x85ebca6bu;
    return (word ^ word >> 15) * 0xc2b2ae35u >> 24;
  }

  void rank(float score, int64_t index) {
    if (score < cut_.worst.score) return;
    const Ranked candidate{score, tie_hash(pass_.key, index), index};
    if (before(cut_.worst, candidate)) return;
    if (!survivors_.add(candidate) || !survivors_.shrink()) return;
    pass_.cut.raise(survivors_.worst());
    set_cut(survivors_.worst());
  }

  void set_cut(const Ranked& worst) {
    if (!before(worst, cut_.worst)) return;
    const bool tie_known = !Score::kPerIndex && worst.index != kLowest.index;
    const Beliefs& beliefs = pass_.candidates.beliefs();
    cut_.worst = worst;
    cut_.a = tie_known ? beliefs.alpha[worst.index] : __builtin_nanf("");
    cut_.b = tie_known ? beliefs.beta[worst.index] : __builtin_nanf("");
  }

  const Score score_;
  Pass& pass_;
  Survivors& survivors_;
  Cut cut_{kLowest, __builtin_nanf(""), __builtin_nanf("")};
  uint64_t version_ = 0;
  int pending_ = 0;
  float pending_a_[kPending], pending_b_[kPending];
  int64_t pending_index_[kPending];
  Known known_[kKnown];
  uint8_t flags_[kChunk];
  float gathered_[2 * kChunk];
};

}  // namespace insight::cpu
