#include <algorithm>
#include <atomic>

#include "cpu.h"
#include "ieee_arithmetic.h"
#include "scan.h"
#include "threads.h"

namespace insight::cpu {
namespace {

void score_range(const Scorer& scorer, const Beliefs& beliefs, int64_t begin, int64_t end,
                 float* scores) {
  int64_t indices[kLanes];
  if (!scorer.per_index()) {
    const int64_t whole = (end - begin) / kLanes * kLanes;
    scorer.score(beliefs.alpha + begin, beliefs.beta + begin, nullptr, whole, scores + begin);
    begin += whole;
  }
  for (; begin < end; begin += kLanes) {
    const int64_t count = std::min<int64_t>(kLanes, end - begin);
    float a[kLanes], b[kLanes], out[kLanes];
    for (int i = 0; i < kLanes; ++i) {
      indices[i] = begin + (i < count ? i : 0);
      a[i] = beliefs.alpha[indices[i]];
      b[i] = beliefs.beta[indices[i]];
    }
    scorer.score(a, b, indices, kLanes, out);
    std::copy(out, out + count, scores + begin);
  }
}

}  // namespace

Outcome score(const Request& request, const Settings& settings, float* scores) {
  const Beliefs& beliefs = request.beliefs;
  const IeeeArithmetic arithmetic;
  constexpr int64_t kBlock = 4096;
  const int64_t blocks = (beliefs.size + kBlock - 1) / kBlock;
  const Scorer scorer(request.score, beliefs.first, settings.instruction_set);
  std::atomic<int64_t> next{0};
  FirstFault bad;
  Stop stop(settings.is_stopped);
  on_threads(std::min<int64_t>(settings.threads, (blocks + 1) / 2), [&] {
    for (int64_t block; !stop.is_wanted() && (block = next.fetch_add(1)) < blocks;) {
      const int64_t begin = block * kBlock, end = std::min(begin + kBlock, beliefs.size);
      int64_t i = begin;
      while (i < end && is_belief(beliefs.alpha[i], beliefs.beta[i])) ++i;
      if (i < end) {
        bad.note(i);
        return;  // earlier blocks are done or in other hands, later ones cannot hold the first
      }
      score_range(scorer, beliefs, begin, end, scores);
    }
  });
  if (stop.is_wanted()) return {INSIGHT_STOPPED, 0};
  if (bad.found()) return {INSIGHT_BAD_BELIEF, bad.place()};
  return {};
}

}  // namespace insight::cpu
