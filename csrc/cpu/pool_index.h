// Selection from a pool of which little changes between two calls.
//
// The pool is cut into blocks. For each the index keeps an upper bound of its best candidate's
// place in THE order: exactly that candidate's score and hash, or after an update only the largest
// cheap bound. The k-th best of the exact ones is a cut that k candidates pass, so only blocks at
// or above it are read: about k, whatever the pool's size.
//
// Any thread may call; calls take turns, those of all indices of the process, and a fork waits for
// the one under way, so that a child process finds no index half changed.
#pragma once

#include <memory>
#include <vector>

#include "cpu.h"
#include "selector.h"

namespace insight::cpu {

class PoolIndex {
 public:
  // The request's beliefs are the caller's: they must outlive the index, and change only as update is
  // told. Its score, beliefs and seed count. ArgumentError if the score draws at random.
  PoolIndex(const Request& request, const Settings& settings);

  // Reads every belief, after changes that no list describes. Until it has succeeded once, and
  // again after a failure, select begins with it.
  Outcome rebuild();

  // The beliefs at these indices have changed. Nothing is updated if one is invalid or outside.
  Outcome update(const int64_t* indices, int64_t count);

  // As select_top_k over the whole pool less the excluded, with the same answer.
  // `request` is the index's own, with k, exclude and sorted.
  Outcome select(const Request& request, const Result& result);

  // How many beliefs the latest select looked at.
  int64_t visited() const;

 private:
  static constexpr int64_t kBlock = 128;
  static constexpr uint64_t kInexact = ~uint64_t{0};  // hash of a block known by a bound alone

  Outcome build();
  Outcome select_from_blocks(const Candidates& candidates, int64_t k, const Ranked& cut,
                             std::vector<Ranked>& best);
  int64_t block_end(int64_t block) const;
  void bound_block(int64_t block);
  void settle_block(int64_t block);
  Ranked cut_of_blocks(int64_t rank) const;

  Scorer scorer_;
  const Beliefs beliefs_;
  const uint64_t key_;  // of the tie hash
  const Settings settings_;
  std::vector<float> score_;    // of each block's best
  std::vector<uint64_t> hash_;  // of each block's best, or kInexact
  bool built_ = false;          // both are those of the present beliefs
  int64_t visited_ = 0;
};

}  // namespace insight::cpu
