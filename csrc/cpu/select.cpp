#include "selector.h"

#include <cmath>

#include "ieee_arithmetic.h"
#include "sample.h"
#include "threads.h"

namespace insight::cpu {

Selector::Selector(const Scorer& scorer, const Candidates& candidates,
                   const Request& request, const Settings& settings)
    : scorer_(scorer),
      candidates_(candidates),
      k_(request.k),
      key_(tie_key(candidates.beliefs(), request.seed)),
      settings_(settings) {
  constexpr int64_t kMost = int64_t{1} << 40;
  const Tuning& tuning = settings.tuning;
  const auto lies = [](int64_t least, int64_t value) { return least <= value && value <= kMost; };
  expect(lies(1, tuning.block) && lies(1, tuning.least_per_thread) && lies(1, tuning.few_threads) &&
             lies(1, tuning.streamed_per_thread) && lies(kStrip, tuning.sample_least) &&
             lies(tuning.sample_least, tuning.sample_most) && lies(1, tuning.sample_share) &&
             lies(0, tuning.sample_rank) && lies(0, tuning.capacity),
         "tuning", "sizes up to 2^40, samples of 64 or more", "others");
}

Outcome Selector::select(std::vector<Ranked>& best) const {
  KnownScores known;
  const Ranked guess = sampled_cut(known);
  Outcome outcome = pass(guess, known, best);
  const bool too_high = static_cast<int64_t>(best.size()) < k_ && before(guess, kLowest);
  if (outcome.code == INSIGHT_DONE && too_high) outcome = pass(kLowest, known, best);
  return outcome;
}

// A cut that k candidates probably pass, and not many more: the worst of the `rank` most
// promising of a sample, with rank so large that fewer than k pass only by rare chance (then
// the pass is repeated without it). The sample is strips, jittered within equal strata.
Ranked Selector::sampled_cut(KnownScores& known) const {
  const Tuning& tuning = settings_.tuning;
  const int64_t size = candidates_.size();
  const int64_t wanted =
      std::clamp(size / tuning.sample_share, tuning.sample_least, tuning.sample_most);
  const bool whole = size <= 2 * wanted;
  if (k_ > (whole ? size / 2 : size / 8)) return kLowest;
  const int64_t stride = whole ? kStrip : size / (wanted / kStrip);
  const int64_t rank = tuning.sample_rank > 0 ? tuning.sample_rank
                                              : sample_rank(whole ? 1.0 : double(wanted) / double(size));
  const auto place_of = [&](int64_t stratum) {
    if (whole) return stratum;
    const uint64_t jitter = tie_hash(key_, ~stratum) % static_cast<uint64_t>(stride);
    return (stratum + static_cast<int64_t>(jitter)) / kStrip * kStrip;
  };
  constexpr int64_t kStripsAhead = 16;  // each is in a page of its own
  Sample sample(size / stride + 1);
  FirstFault fault;
  Gathered gathered;
  float bounds[kStrip];
  for (int64_t stratum = 0; stratum < size; stratum += stride) {
    const int64_t place = place_of(stratum);
    if (place >= size) break;
    candidates_.prefetch(place_of(stratum + kStripsAhead * stride), kStrip);
    const int count = static_cast<int>(std::min<int64_t>(kStrip, size - place));
    const Chunk chunk = candidates_.load(place, count, gathered, fault);
    if (fault.found()) return kLowest;  // the pass will report it
    scorer_.bounds(chunk.a, chunk.b, chunk.count, bounds);
    sample.add(chunk, bounds, candidates_);
  }
  std::vector<int64_t> promising;
  if (!sample.most_promising(rank, key_, promising)) return kLowest;
  return worst_of(promising, known);
}

int64_t Selector::sample_rank(double share) const {
  if (share == 1.0) return k_;
  const double expected = double(k_) * share;
  return static_cast<int64_t>(std::ceil(expected + 4.0 * std::sqrt(expected) + 4.0));
}

// Of candidates known by their index; kLowest if one is no belief, which the pass will report.
Ranked Selector::worst_of(const std::vector<int64_t>& some, KnownScores& known) const {
  Ranked worst{kUnbounded, 0, 0};
  float a[kLanes], b[kLanes], scores[kLanes];
  int64_t indices[kLanes];
  int pending = 0;
  const auto meet = [&](float score, int64_t index) {
    const Ranked other{score, tie_hash(key_, index), index};
    if (before(worst, other)) worst = other;
  };
  const auto score_pending = [&] {
    for (int i = pending; i < kLanes; ++i) a[i] = a[0], b[i] = b[0], indices[i] = indices[0];
    scorer_.score(a, b, indices, kLanes, scores);
    for (int i = 0; i < pending; ++i) {
      known.of(a[i], b[i]) = {a[i], b[i], scores[i]};
      meet(scores[i], indices[i]);
    }
    pending = 0;
  };
  for (const int64_t index : some) {
    indices[pending] = index;
    a[pending] = candidates_.beliefs().alpha[index];
    b[pending] = candidates_.beliefs().beta[index];
    if (!is_belief(a[pending], b[pending])) return kLowest;
    const KnownScores::Known& found = known.of(a[pending], b[pending]);
    const bool is_known = !scorer_.per_index() && found.a == a[pending] && found.b == b[pending];
    if (is_known) {
      meet(found.score, index);
    } else if (++pending == kLanes) {
      score_pending();
    }
  }
  if (pending > 0) score_pending();
  return worst;
}

Outcome Selector::pass(const Ranked& cut, const KnownScores& known,
                       std::vector<Ranked>& best) const {
  const Tuning& tuning = settings_.tuning;
  const int64_t size = candidates_.size();
  const int64_t blocks = (size + tuning.block - 1) / tuning.block;
  // A few threads are as fast as the memory, and each costs the caller its start.
  const int64_t streaming = std::max(tuning.few_threads, size / tuning.streamed_per_thread);
  const int64_t useful = std::min(size / tuning.least_per_thread,
                                  scorer_.per_index() ? size : streaming);
  const int64_t capacity = tuning.capacity > 0 ? std::max(tuning.capacity, k_ + 1)
                                               : 2 * k_ + 1024;
  Pass pass(scorer_, candidates_, key_, cut);
  Survivors merged(k_, capacity, candidates_.is_list());
  std::mutex merging;
  std::atomic<int64_t> next{0};
  Stop stop(settings_.is_stopped);
  on_threads(std::min<int64_t>(settings_.threads, useful), [&] {
    Survivors own(k_, capacity, candidates_.is_list());
    Scan scan(pass, own, known);
    for (int64_t block; !stop.is_wanted() &&
                        (block = next.fetch_add(1, std::memory_order_relaxed)) < blocks;) {
      scan.visit(block * tuning.block, std::min(size, (block + 1) * tuning.block));
    }
    scan.finish();
    own.shrink();
    const std::lock_guard<std::mutex> lock(merging);
    merged.items().insert(merged.items().end(), own.items().begin(), own.items().end());
  });
  if (stop.is_wanted()) return {INSIGHT_STOPPED, 0};
  const int64_t bad_belief = pass.bad_belief.place(), bad_candidate = pass.bad_candidate.place();
  if (bad_candidate < bad_belief) return {INSIGHT_BAD_CANDIDATE, bad_candidate};
  if (pass.bad_belief.found()) {
    const int64_t index = candidates_.index(bad_belief);
    if (!candidates_.contains(index)) return {INSIGHT_BAD_CANDIDATE, bad_belief};
    return {INSIGHT_BAD_BELIEF, index};
  }
  merged.shrink();
  best.swap(merged.items());
  return {};
}

Outcome deliver(std::vector<Ranked>& best, const Request& request, int64_t first,
                const Result& result) {
  const int64_t found = static_cast<int64_t>(best.size());
  if (found < request.k) return {INSIGHT_TOO_FEW_ELIGIBLE, found};
  const auto by_index = [](const Ranked& x, const Ranked& y) { return x.index < y.index; };
  if (request.sorted) {
    std::sort(best.begin(), best.end(), Before{});
  } else {
    std::sort(best.begin(), best.end(), by_index);
  }
  for (int64_t i = 0; i < request.k; ++i) {
    result.indices[i] = first + best[static_cast<size_t>(i)].index;
    result.scores[i] = best[static_cast<size_t>(i)].score;
  }
  return {};
}

Outcome select_top_k(const Request& request, const Settings& settings, const Result& result) {
  const Beliefs& beliefs = request.beliefs;
  const IeeeArithmetic arithmetic;
  const Scorer scorer(request.score, beliefs.first, settings.instruction_set);
  const Candidates candidates(beliefs, Eligible(request));
  const int64_t bad = candidates.bad_exclusion();
  if (bad >= 0) return {INSIGHT_BAD_EXCLUSION, bad};
  std::vector<Ranked> best;
  const Outcome outcome = Selector(scorer, candidates, request, settings).select(best);
  if (outcome.code != INSIGHT_DONE) return outcome;
  return deliver(best, request, beliefs.first, result);
}

Outcome merge_top_k(const Request& request, const int64_t* indices, const float* scores,
                    int64_t count, const Result& result) {
  const IeeeArithmetic arithmetic;
  const uint64_t key = hash_key(request.seed);
  Survivors best(request.k, count, false);
  for (int64_t i = 0; i < count; ++i) {
    const Ranked part{scores[i], tie_hash(key, indices[i]), indices[i]};
    if (part.score != part.score) return {INSIGHT_BAD_SCORE, i};
    best.add(part);
  }
  best.shrink();
  return deliver(best.items(), request, 0, result);
}

}  // namespace insight::cpu
