#include <algorithm>
#include <atomic>

#include "cpu.h"
#include "ieee_arithmetic.h"
#include "scan.h"
#include "threads.h"

namespace insight::cpu {
namespace {

// Beliefs [begin, begin + count). Returns how many come before the first invalid one, count if there is
// none. Each is read once: another thread may change it, and what was checked is what is scored.
int64_t score_strip(const Scorer& scorer, const Beliefs& beliefs, int64_t begin, int64_t count,
                    float* scores) {
  float a[kStrip], b[kStrip], out[kStrip];
  int64_t indices[kStrip];
  int64_t padded = 0;
  for (; padded < count || padded % kLanes; ++padded) {
    indices[padded] = begin + padded;
    a[padded] = padded < count ? beliefs.alpha[begin + padded] : 1.0f;
    b[padded] = padded < count ? beliefs.beta[begin + padded] : 1.0f;
    if (!is_belief(a[padded], b[padded])) return padded;
  }
  scorer.score(a, b, indices, padded, out);
  std::copy(out, out + count, scores + begin);
  return count;
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
      const int64_t end = std::min((block + 1) * kBlock, beliefs.size);
      for (int64_t begin = block * kBlock; begin < end; begin += kStrip) {
        const int64_t count = std::min<int64_t>(kStrip, end - begin);
        const int64_t valid = score_strip(scorer, beliefs, begin, count, scores);
        if (valid == count) continue;
        bad.note(begin + valid);
        return;  // earlier blocks are done or in other hands, later ones cannot hold the first
      }
    }
  });
  if (stop.is_wanted()) return {INSIGHT_STOPPED, 0};
  if (bad.found()) return {INSIGHT_BAD_BELIEF, bad.place()};
  return {};
}

}  // namespace insight::cpu
