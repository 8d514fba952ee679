// One thread's part of the streaming pass: filter a chunk, score what the filter leaves, keep what
// comes before the cut, raise the cut as better candidates pile up.
#pragma once

#include <atomic>
#include <mutex>

#include "candidates.h"
#include "instruction_set.h"
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

// A score of the beliefs from prompt `first` on, and the loops that compute it.
class Scorer {
 public:
  Scorer(const insight_score& score, int64_t first, const InstructionSet& set)
      : kernels_(set.kernels(static_cast<int>(score.kind))) {
    kernels_.prepare(score.parameters, key_of(score, first), &prepared_);
  }

  bool per_index() const { return kernels_.per_index; }

  float evidence_limit(float threshold) const {
    return kernels_.evidence_limit(&prepared_, threshold);
  }
  int filter(const insight_kernels::Cut& cut, uint64_t key, const Chunk& chunk,
             uint64_t* flags) const {
    return kernels_.filter(&prepared_, &cut, key, chunk.a, chunk.b, chunk.indices, chunk.first,
                           chunk.count, flags);
  }
  void bounds(const float* a, const float* b, int64_t count, float* out) const {
    kernels_.bounds(&prepared_, a, b, count, out);
  }
  void score(const float* a, const float* b, const int64_t* indices, int64_t count,
             float* out) const {
    kernels_.score(&prepared_, a, b, indices, count, out);
  }

 private:
  const insight_kernels::Kernels& kernels_;
  insight_kernels::Prepared prepared_;
};

// Beliefs repeat (all unseen prompts share the prior, and counts are small integers), so the latest
// scores are remembered.
class KnownScores {
 public:
  struct Known {
    float a = 0, b = 0, score = 0;  // no belief is (0, 0)
  };

  // Where this belief's score stands, if any belief's does.
  Known& of(float a, float b) {
    const uint32_t word = bit_cast<uint32_t>(a) * 0x9e3779b1u ^ bit_cast<uint32_t>(b) * 0x85ebca6bu;
    return known_[(word ^ word >> 15) * 0xc2b2ae35u >> (32 - kBits)];
  }

 private:
  static constexpr int kBits = 9;
  Known known_[1 << kBits];
};

// What the threads of one pass have in common.
struct Pass {
  const Scorer& scorer;
  const Candidates& candidates;
  uint64_t key;  // of the tie hash
  SharedCut cut;
  FirstFault bad_belief, bad_candidate;

  Pass(const Scorer& scorer, const Candidates& candidates, uint64_t key, const Ranked& worst)
      : scorer(scorer), candidates(candidates), key(key), cut(worst) {}
};

class Scan {
 public:
  // Nothing after `lowest_wanted` is kept. It starts with the scores that are known already.
  Scan(Pass& pass, Survivors& survivors, const KnownScores& known,
       const Ranked& lowest_wanted = kLowest)
      : pass_(pass), survivors_(survivors), worst_(lowest_wanted), known_(known) {
    cut_at(lowest_wanted, __builtin_nanf(""), __builtin_nanf(""));
  }

  void visit(int64_t begin, int64_t end) {
    for (int64_t place = begin; place < end; place += kChunk) {
      if (place > pass_.bad_belief.place() || place > pass_.bad_candidate.place()) return;
      visit_chunk(place, static_cast<int>(end - place < kChunk ? end - place : kChunk));
    }
  }

  void finish() { score_pending(); }

 private:
  static constexpr int kPending = 64;

  void visit_chunk(int64_t place, int count) {
    Ranked worst;
    if (pass_.cut.refresh(version_, worst)) set_cut(worst);
    const Chunk chunk = pass_.candidates.load(place, count, gathered_, pass_.bad_candidate);
    const int valid = pass_.scorer.filter(cut_, pass_.key, chunk, flags_);
    if (valid < chunk.count) return pass_.bad_belief.note(place + valid);
    for (int start = 0; start < chunk.count; start += kStrip) {
      for (uint64_t left = flags_[start / kStrip]; left; left &= left - 1) {
        const int i = start + __builtin_ctzll(left);
        meet(chunk.a[i], chunk.b[i], chunk.index(i), place + i);
      }
    }
  }

  // A candidate that the filter let through. The belief was read again, and another thread may
  // have changed it since.
  void meet(float a, float b, int64_t index, int64_t place) {
    if (!pass_.candidates.is_eligible(index)) return;
    if (!is_belief(a, b)) return pass_.bad_belief.note(place);
    if (!pass_.scorer.per_index()) {
      const KnownScores::Known& known = known_.of(a, b);
      if (known.a == a && known.b == b) {
        if (!rank(known.score, index)) pass_over(known);
        return;
      }
    }
    pending_a_[pending_] = a;
    pending_b_[pending_] = b;
    pending_index_[pending_] = index;
    if (++pending_ == kPending) score_pending();
  }

  void score_pending() {
    drop_pending_below_cut();
    if (pending_ == 0) return;
    int padded = pending_;
    for (; padded % kLanes; ++padded) {
      pending_a_[padded] = pending_a_[0];
      pending_b_[padded] = pending_b_[0];
      pending_index_[padded] = pending_index_[0];
    }
    float scores[kPending];
    pass_.scorer.score(pending_a_, pending_b_, pending_index_, padded, scores);
    const int count = pending_;
    pending_ = 0;
    for (int i = 0; i < count; ++i) {
      known_.of(pending_a_[i], pending_b_[i]) = {pending_a_[i], pending_b_[i], scores[i]};
      rank(scores[i], pending_index_[i]);
    }
  }

  void drop_pending_below_cut() {
    float bounds[kPending];
    pass_.scorer.bounds(pending_a_, pending_b_, pending_, bounds);
    int kept = 0;
    for (int i = 0; i < pending_; ++i) {
      if (bounds[i] < worst_.score) continue;
      pending_a_[kept] = pending_a_[i];
      pending_b_[kept] = pending_b_[i];
      pending_index_[kept++] = pending_index_[i];
    }
    pending_ = kept;
  }

  // False if the candidate comes after the cut.
  bool rank(float score, int64_t index) {
    if (!(score >= worst_.score)) return false;
    const Ranked candidate{score, tie_hash(pass_.key, index), index};
    if (before(worst_, candidate)) return false;
    if (survivors_.add(candidate) && survivors_.shrink()) {
      pass_.cut.raise(survivors_.worst());
      set_cut(survivors_.worst());
    }
    return true;
  }

  // A belief that has come up again and again: let the filter drop what equals it.
  void pass_over(const KnownScores::Known& belief) {
    cut_.a = belief.a;
    cut_.b = belief.b;
    cut_.hash = belief.score < worst_.score ? ~uint64_t{0} : worst_.hash;
  }

  void set_cut(const Ranked& worst) {
    if (!before(worst, worst_)) return;
    const bool tie_known = !pass_.scorer.per_index() && worst.index != kLowest.index;
    const Beliefs& beliefs = pass_.candidates.beliefs();
    worst_ = worst;
    cut_at(worst, tie_known ? beliefs.alpha[worst.index] : __builtin_nanf(""),
           tie_known ? beliefs.beta[worst.index] : __builtin_nanf(""));
  }

  void cut_at(const Ranked& worst, float a, float b) {
    cut_ = {worst.score, pass_.scorer.evidence_limit(worst.score), worst.hash, a, b};
  }

  Pass& pass_;
  Survivors& survivors_;
  Ranked worst_ = kLowest;
  insight_kernels::Cut cut_;
  uint64_t version_ = 0;
  int pending_ = 0;
  float pending_a_[kPending], pending_b_[kPending];
  int64_t pending_index_[kPending];
  KnownScores known_;
  uint64_t flags_[kChunk / kStrip];
  Gathered gathered_;
};

}  // namespace insight::cpu
