// Exact selection in one streaming pass: a threshold from a sample, a cheap upper bound to pass
// over nearly every candidate, the reference score for the rest, and a cut that rises as better
// candidates are met. No N-sized array; docs/kernel.md has the argument for exactness.
#include <cmath>
#include <numeric>

#include "cpu.h"
#include "scan.h"
#include "threads.h"

namespace insight::cpu {
namespace {

constexpr int64_t kLine = 16;  // float32 values in a cache line

template <class Score>
class Selector {
 public:
  Selector(const Score& score, const Candidates& candidates, const SelectionRequest& request,
           const Settings& settings)
      : score_(score),
        candidates_(candidates),
        k_(request.k),
        key_(hash_key(request.seed)),
        settings_(settings) {}

  // The k best in no particular order, or all if fewer are eligible.
  Outcome select(std::vector<Ranked>& best) const {
    const Ranked guess = sampled_cut();
    Outcome outcome = pass(guess, best);
    const bool too_high = static_cast<int64_t>(best.size()) < k_ && before(guess, kLowest);
    if (outcome.code == Outcome::kDone && too_high) outcome = pass(kLowest, best);
    return outcome;
  }

 private:
  // A cut that k candidates probably pass, and not many more: the worst of the `rank` most
  // promising of a sample, with rank so large that fewer than k pass only by rare chance (then
  // the pass is repeated without it). Whole cache lines, jittered within equal strata.
  Ranked sampled_cut() const {
    const Tuning& tuning = settings_.tuning;
    const int64_t size = candidates_.size();
    const int64_t wanted =
        std::clamp(size / tuning.sample_share, tuning.sample_least, tuning.sample_most);
    const bool whole = size <= 4 * wanted;
    const int64_t stride = whole ? kLine : size / (wanted / kLine);
    std::vector<float> bounds;
    std::vector<int64_t> indices;
    if (k_ > size / 8 && !(whole && k_ <= size / 2)) return kLowest;
    FirstFault fault;
    float gathered[2 * kChunk], line_bounds[kLine];
    for (int64_t stratum = 0; stratum < size; stratum += stride) {
      const uint64_t jitter = whole ? 0 : tie_hash(key_, ~stratum) % static_cast<uint64_t>(stride);
      const int64_t place = (stratum + static_cast<int64_t>(jitter)) / kLine * kLine;
      if (place >= size) break;
      const int count = static_cast<int>(std::min(kLine, size - place));
      const Chunk chunk = candidates_.load(place, count, gathered, fault);
      run<Bounds<Score>>(settings_.instruction_set, &score_, chunk.a, chunk.b,
                         int64_t{chunk.count}, static_cast<float*>(line_bounds));
      for (int i = 0; i < chunk.count; ++i) {
        const int64_t index = chunk.index(i);
        if (!is_belief(chunk.a[i], chunk.b[i])) return kLowest;  // the pass will report it
        if (!candidates_.is_eligible(index)) continue;
        bounds.push_back(line_bounds[i] == line_bounds[i] ? line_bounds[i] : kUnbounded);
        indices.push_back(index);
      }
    }
    const int64_t sampled = static_cast<int64_t>(bounds.size());
    int64_t rank = k_;
    if (!whole) {
      const double share = double(sampled) / double(size);
      const double expected = double(k_) * share;
      rank = static_cast<int64_t>(std::ceil(expected + 4.0 * std::sqrt(expected) + 4.0));
    }
    if (tuning.sample_rank > 0) rank = tuning.sample_rank;
    if (fault.found() || rank > sampled) return kLowest;
    return worst_of_most_promising(rank, bounds, indices);
  }

  Ranked worst_of_most_promising(int64_t rank, const std::vector<float>& bounds,
                                 const std::vector<int64_t>& indices) const {
    std::vector<int32_t> order(bounds.size());
    std::iota(order.begin(), order.end(), 0);
    std::nth_element(order.begin(), order.begin() + (rank - 1), order.end(),
                     [&](int32_t x, int32_t y) { return bounds[x] > bounds[y]; });
    const int64_t padded = (rank + kLanes - 1) / kLanes * kLanes;
    std::vector<float> a(padded), b(padded), scores(padded);
    std::vector<int64_t> chosen(padded);
    for (int64_t i = 0; i < padded; ++i) {
      chosen[i] = indices[order[i < rank ? i : 0]];
      a[i] = candidates_.beliefs().alpha[chosen[i]];
      b[i] = candidates_.beliefs().beta[chosen[i]];
    }
    run<ScoreBatch<Score>>(settings_.instruction_set, &score_,
                           static_cast<const float*>(a.data()),
                           static_cast<const float*>(b.data()),
                           static_cast<const int64_t*>(chosen.data()), padded, scores.data());
    Ranked worst{scores[0], tie_hash(key_, chosen[0]), chosen[0]};
    for (int64_t i = 1; i < rank; ++i) {
      const Ranked other{scores[i], tie_hash(key_, chosen[i]), chosen[i]};
      if (before(worst, other)) worst = other;
    }
    return worst;
  }

  Outcome pass(const Ranked& cut, std::vector<Ranked>& best) const {
    const Tuning& tuning = settings_.tuning;
    const int64_t size = candidates_.size();
    const int64_t blocks = (size + tuning.block - 1) / tuning.block;
    const int64_t useful = std::max<int64_t>(size / tuning.least_per_thread, 1);
    const int threads = static_cast<int>(std::min<int64_t>(settings_.threads, useful));
    const int64_t capacity = tuning.capacity > 0 ? std::max(tuning.capacity, k_ + 1)
                                                 : 2 * k_ + 1024;
    Pass pass(candidates_, settings_.instruction_set, key_, cut);
    Survivors merged(k_, capacity, candidates_.is_list());
    std::mutex merging;
    std::atomic<int64_t> next{0};
    on_threads(threads, [&](int) {
      Survivors own(k_, capacity, candidates_.is_list());
      Scan<Score> scan(score_, pass, own);
      for (int64_t block; (block = next.fetch_add(1, std::memory_order_relaxed)) < blocks;) {
        scan.visit(block * tuning.block, std::min(size, (block + 1) * tuning.block));
      }
      scan.finish();
      own.shrink();
      const std::lock_guard<std::mutex> lock(merging);
      merged.items().insert(merged.items().end(), own.items().begin(), own.items().end());
    });
    const int64_t bad_belief = pass.bad_belief.place(), bad_candidate = pass.bad_candidate.place();
    if (bad_candidate < bad_belief) return {Outcome::kBadCandidate, bad_candidate};
    if (pass.bad_belief.found()) return {Outcome::kBadBelief, candidates_.index(bad_belief)};
    merged.shrink();
    best.swap(merged.items());
    return {};
  }

  const Score& score_;
  const Candidates& candidates_;
  const int64_t k_;
  const uint64_t key_;
  const Settings& settings_;
};

}  // namespace

Outcome select_top_k(const AnyScore& any, const Beliefs& beliefs, const Eligible& eligible,
                     const SelectionRequest& request, const Settings& settings,
                     const Selection& selection) {
  for (int64_t i = 0; i < eligible.excluded_size; ++i) {
    const int64_t index = eligible.excluded[i];
    if (index < 0 || index >= beliefs.size) return {Outcome::kBadExclusion, i};
  }
  const Candidates candidates(beliefs, eligible);
  std::vector<Ranked> best;
  const Outcome outcome = with_score(any, [&](const auto& score) {
    return Selector(score, candidates, request, settings).select(best);
  });
  if (outcome.code != Outcome::kDone) return outcome;
  if (static_cast<int64_t>(best.size()) < request.k) {
    return {Outcome::kTooFewEligible, static_cast<int64_t>(best.size())};
  }
  const auto by_index = [](const Ranked& x, const Ranked& y) { return x.index < y.index; };
  if (request.sorted) {
    std::sort(best.begin(), best.end(), before);
  } else {
    std::sort(best.begin(), best.end(), by_index);
  }
  for (int64_t i = 0; i < request.k; ++i) {
    selection.indices[i] = best[static_cast<size_t>(i)].index;
    selection.scores[i] = best[static_cast<size_t>(i)].score;
  }
  return {};
}

}  // namespace insight::cpu
