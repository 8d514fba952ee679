#include "pool_index.h"

#include <pthread.h>

#include <mutex>

#include "ieee_arithmetic.h"
#include "threads.h"

namespace insight::cpu {
namespace {

std::mutex& turn() {
  static std::mutex mutex;
  return mutex;
}

// One call to an index: its turn, and the arithmetic.
class Call {
 public:
  Call() : lock_(turn()) {}

 private:
  const std::lock_guard<std::mutex> lock_;
  const IeeeArithmetic arithmetic_;
};

}  // namespace

PoolIndex::PoolIndex(const Request& request, const Settings& settings)
    : scorer_(request.score, request.beliefs.first, settings.instruction_set),
      beliefs_(request.beliefs),
      key_(tie_key(request.beliefs, request.seed)),
      settings_(settings) {
  static const int forks_wait = pthread_atfork([] { turn().lock(); }, [] { turn().unlock(); },
                                               [] { turn().unlock(); });
  static_cast<void>(forks_wait);
  expect(!scorer_.per_index(), "score", "one that changes with the beliefs alone",
         request.score.kind);
  const size_t blocks = static_cast<size_t>((beliefs_.size + kBlock - 1) / kBlock);
  score_.resize(blocks);
  hash_.resize(blocks);
}

int64_t PoolIndex::block_end(int64_t block) const {
  return std::min(beliefs_.size, (block + 1) * kBlock);
}

int64_t PoolIndex::visited() const {
  const Call call;
  return visited_;
}

Outcome PoolIndex::rebuild() {
  const Call call;
  return build();
}

Outcome PoolIndex::build() {
  built_ = false;
  const int64_t blocks = static_cast<int64_t>(score_.size());
  constexpr int64_t kShare = 64;  // blocks that a thread takes at a time
  FirstFault bad;
  std::atomic<int64_t> next{0};
  on_threads(std::min<int64_t>(settings_.threads, (blocks + kShare - 1) / kShare), [&] {
    for (int64_t first; (first = next.fetch_add(kShare)) < blocks;) {
      for (int64_t block = first; block < std::min(blocks, first + kShare); ++block) {
        for (int64_t i = block * kBlock; i < block_end(block); ++i) {
          if (!is_belief(beliefs_.alpha[i], beliefs_.beta[i])) bad.note(i);
        }
        if (bad.place() < block_end(block)) return;
        settle_block(block);
      }
    }
  });
  if (bad.found()) return {INSIGHT_BAD_BELIEF, bad.place()};
  built_ = true;
  return {};
}

Outcome PoolIndex::update(const int64_t* indices, int64_t count) {
  const Call call;
  // A copy, so that the indices that were checked are the ones that are used.
  const std::vector<int64_t> changed(indices, indices + count);
  const int64_t outside = first_outside(changed, beliefs_.size);
  if (outside >= 0) return {INSIGHT_BAD_CANDIDATE, outside};
  for (const int64_t i : changed) {
    if (!is_belief(beliefs_.alpha[i], beliefs_.beta[i])) return {INSIGHT_BAD_BELIEF, i};
  }
  for (const int64_t i : changed) bound_block(i / kBlock);
  return {};
}

void PoolIndex::bound_block(int64_t block) {
  const int64_t begin = block * kBlock, size = block_end(block) - begin;
  float bounds[kBlock];
  scorer_.bounds(beliefs_.alpha + begin, beliefs_.beta + begin, size, bounds);
  float most = -kUnbounded;
  for (int64_t i = 0; i < size; ++i) {
    if (!(bounds[i] <= most)) most = bounds[i] == bounds[i] ? bounds[i] : kUnbounded;
  }
  score_[static_cast<size_t>(block)] = most;
  hash_[static_cast<size_t>(block)] = kInexact;
}

void PoolIndex::settle_block(int64_t block) {
  const int64_t begin = block * kBlock;
  const Beliefs part{beliefs_.alpha + begin, beliefs_.beta + begin, block_end(block) - begin, 0};
  float bounds[kBlock], scores[kBlock];
  scorer_.bounds(part.alpha, part.beta, part.size, bounds);
  // In turn: the most promising batch of those that may still win, until none may.
  Ranked best{-kUnbounded, 0, 0};
  float known_a = 0.0f, known_b = 0.0f, known_score = 0.0f;  // no belief is (0, 0)
  int64_t left[kBlock], count = part.size;
  for (int64_t i = 0; i < count; ++i) {
    left[i] = i;
    if (bounds[i] != bounds[i]) bounds[i] = kUnbounded;
  }
  while (count > 0) {
    const int64_t batch = std::min<int64_t>(kLanes, count);
    std::partial_sort(left, left + batch, left + count,
                      [&](int64_t x, int64_t y) { return bounds[x] > bounds[y]; });
    float a[kLanes], b[kLanes];
    int64_t indices[kLanes];
    for (int64_t i = 0; i < kLanes; ++i) {
      indices[i] = left[i < batch ? i : 0];
      a[i] = part.alpha[indices[i]];
      b[i] = part.beta[indices[i]];
    }
    scorer_.score(a, b, indices, kLanes, scores);
    known_a = a[0];
    known_b = b[0];
    known_score = scores[0];
    for (int64_t i = 0; i < batch; ++i) {
      const int64_t index = begin + indices[i];
      const Ranked candidate{scores[i], tie_hash(key_, index), index};
      if (before(candidate, best)) best = candidate;
    }
    int64_t kept = 0;
    for (int64_t i = batch; i < count; ++i) {
      const int64_t place = left[i];
      if (part.alpha[place] == known_a && part.beta[place] == known_b) {
        const int64_t index = begin + place;
        const Ranked candidate{known_score, tie_hash(key_, index), index};
        if (before(candidate, best)) best = candidate;
      } else if (!(bounds[place] < best.score)) {
        left[kept++] = place;
      }
    }
    count = kept;
  }
  score_[static_cast<size_t>(block)] = best.score;
  hash_[static_cast<size_t>(block)] = best.hash;
}

// The rank-th best of the blocks known exactly: at least `rank` candidates do not come after it.
Ranked PoolIndex::cut_of_blocks(int64_t rank) const {
  const int64_t blocks = static_cast<int64_t>(score_.size());
  Survivors best(rank, 2 * rank + 64, false);
  Ranked worst = kLowest;
  for (int64_t start = 0; start < blocks; start += kStrip) {
    const int64_t end = std::min<int64_t>(blocks, start + kStrip);
    int some = 0;
    for (int64_t block = start; block < end; ++block) some |= score_[block] >= worst.score;
    if (!some) continue;
    for (int64_t block = start; block < end; ++block) {
      if (score_[block] < worst.score || hash_[block] == kInexact) continue;
      const Ranked candidate{score_[block], hash_[block], block};
      if (before(worst, candidate)) continue;
      if (best.add(candidate) && best.shrink()) worst = best.worst();
    }
  }
  return best.shrink() ? best.worst() : kLowest;
}

Outcome PoolIndex::select(const Request& request, const Result& result) {
  const Call call;
  const Eligible eligible(request);
  const Candidates candidates(beliefs_, eligible);
  const int64_t bad = candidates.bad_exclusion();
  if (bad >= 0) return {INSIGHT_BAD_EXCLUSION, bad};
  if (!built_) {
    const Outcome outcome = build();
    if (outcome.code != INSIGHT_DONE) return outcome;
  }
  const int64_t blocks = static_cast<int64_t>(score_.size());
  // Of the blocks' best, excluded_size may be excluded.
  const int64_t k = request.k, rank = k + eligible.excluded_size;
  const bool blocks_help = rank <= blocks / 4;
  const Ranked cut = blocks_help ? cut_of_blocks(rank) : kLowest;
  std::vector<Ranked> best;
  Outcome outcome{};
  if (cut.index != kLowest.index) outcome = select_from_blocks(candidates, k, cut, best);
  if (outcome.code == INSIGHT_DONE && static_cast<int64_t>(best.size()) < k) {
    // Too few blocks are known exactly, or the pool is too small for blocks to help.
    for (int64_t block = 0; blocks_help && block < blocks; ++block) {
      if (hash_[static_cast<size_t>(block)] == kInexact) settle_block(block);
    }
    visited_ = beliefs_.size;
    outcome = Selector(scorer_, candidates, request, settings_).select(best);
  }
  if (outcome.code != INSIGHT_DONE) return outcome;
  return deliver(best, request, beliefs_.first, result);
}

// The k best of the blocks at or above the cut, which are settled.
Outcome PoolIndex::select_from_blocks(const Candidates& candidates, int64_t k, const Ranked& cut,
                                      std::vector<Ranked>& best) {
  const int64_t blocks = static_cast<int64_t>(score_.size());
  std::vector<int64_t> wanted;
  for (int64_t start = 0; start < blocks; start += kStrip) {
    const int64_t end = std::min<int64_t>(blocks, start + kStrip);
    int some = 0;
    for (int64_t block = start; block < end; ++block) some |= score_[block] >= cut.score;
    if (!some) continue;
    for (int64_t block = start; block < end; ++block) {
      if (score_[block] > cut.score ||
          (score_[block] == cut.score && hash_[block] >= cut.hash)) {
        wanted.push_back(block);
      }
    }
  }
  // The cut's index is a block's; as a candidate of its score and hash it must not be lost itself.
  const Ranked lowest_wanted{cut.score, cut.hash, FirstFault::kNone - 1};
  Pass pass(scorer_, candidates, key_, kLowest);
  Survivors own(k, 2 * k + 1024, false);
  Scan scan(pass, own, KnownScores{}, lowest_wanted);
  visited_ = 0;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (i + 2 < wanted.size()) candidates.prefetch(wanted[i + 2] * kBlock, kBlock);
    scan.visit(wanted[i] * kBlock, block_end(wanted[i]));
    visited_ += block_end(wanted[i]) - wanted[i] * kBlock;
  }
  scan.finish();
  if (pass.bad_belief.found()) return {INSIGHT_BAD_BELIEF, pass.bad_belief.place()};
  own.shrink();
  for (const int64_t block : wanted) {
    if (hash_[static_cast<size_t>(block)] == kInexact) settle_block(block);
  }
  best.swap(own.items());
  return {};
}

}  // namespace insight::cpu
