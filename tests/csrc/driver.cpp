// Exercises the CPU back end without Python or torch, so that sanitizers see all of it.
//   driver check          every pool, thread count, instruction set and fallback once, and 2^31
//   driver fuzz SECONDS   random inputs against the specification until the time is over
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "../../csrc/cpu/cpu.h"
#include "../../csrc/cpu/draw.h"
#include "../../csrc/cpu/pool_index.h"

using namespace insight;

namespace {

using Random = std::mt19937_64;

int64_t below(Random& random, int64_t limit) {
  return static_cast<int64_t>(random() % static_cast<uint64_t>(limit));
}

void require(bool holds, const char* fact, uint64_t case_seed) {
  if (holds) return;
  std::printf("case %llu: not so: %s\n", static_cast<unsigned long long>(case_seed), fact);
  std::exit(1);
}

AnyScore any_score(int kind, Random& random) {
  const double rollouts = 1 + below(random, kind == 7 ? 40 : 20);
  AnyScore score{static_cast<ScoreKind>(kind), {rollouts, 3.0, 0.3}, random(), random()};
  if (kind == 4 || kind == 5) score.parameters[0] = 0.5;
  return score;
}

float any_belief(Random& random, int shape) {
  if (shape == 0) return 1.0f;
  if (shape == 1) return static_cast<float>(1 + below(random, 4));
  if (shape == 2) return std::exp2(static_cast<float>(below(random, 250)) - 125.0f);
  return 0.5f + static_cast<float>(below(random, 1 << 20)) * 1e-4f;
}

struct Case {
  std::vector<float> alpha, beta;
  int64_t first = 0;

  Beliefs beliefs() const { return part(0, int64_t(alpha.size())); }
  Beliefs part(int64_t start, int64_t size) const {
    return {alpha.data() + start, beta.data() + start, size, first + start};
  }
};

Case any_case(Random& random, int64_t most) {
  Case made;
  const int64_t n = 1 + below(random, most);
  const int shape = static_cast<int>(below(random, 4));
  for (int64_t i = 0; i < n; ++i) {
    made.alpha.push_back(any_belief(random, shape));
    made.beta.push_back(any_belief(random, shape));
  }
  if (below(random, 2)) made.first = below(random, int64_t{1} << 60);
  return made;
}

// The specification: score everything, sort everything that is allowed.
std::vector<Ranked> specification(const AnyScore& score, const Case& pool, uint64_t seed,
                                  const std::vector<bool>& allowed) {
  std::vector<float> scores(pool.alpha.size());
  cpu::Settings plain;
  plain.instruction_set = cpu::InstructionSet::kPortable;
  cpu::score(score, pool.beliefs(), plain, scores.data());
  std::vector<Ranked> order;
  for (size_t i = 0; i < scores.size(); ++i) {
    const int64_t index = pool.first + static_cast<int64_t>(i);
    if (allowed[i]) order.push_back({scores[i], tie_hash(hash_key(seed), index), index});
  }
  std::sort(order.begin(), order.end(), Before{});
  return order;
}

cpu::Settings any_settings(Random& random) {
  cpu::Settings settings;
  settings.threads = static_cast<int>(1 + below(random, 4));
  const int best = static_cast<int>(cpu::best_instruction_set());
  settings.instruction_set = static_cast<cpu::InstructionSet>(below(random, best + 1));
  if (below(random, 2)) {
    settings.tuning.block = 1 + below(random, 2000);
    settings.tuning.least_per_thread = 1;
    settings.tuning.sample_least = settings.tuning.sample_most = 64;
    settings.tuning.sample_rank = below(random, 4);
    settings.tuning.capacity = 1 + below(random, 50);
  }
  return settings;
}

void check_selection(uint64_t case_seed, int64_t most) {
  Random random(case_seed);
  const Case pool = any_case(random, most);
  const int64_t n = pool.beliefs().size;
  const AnyScore score = any_score(static_cast<int>(below(random, 8)), random);
  const uint64_t seed = random();
  std::vector<int64_t> listed, excluded;
  std::vector<bool> allowed(static_cast<size_t>(n), true);
  Eligible eligible;
  if (below(random, 3) == 0) {
    std::fill(allowed.begin(), allowed.end(), false);
    for (int64_t i = below(random, 2 * n) + 1; i > 0; --i) listed.push_back(below(random, n));
    for (const int64_t index : listed) allowed[static_cast<size_t>(index)] = true;
    eligible.candidates = listed.data();
    eligible.candidates_size = static_cast<int64_t>(listed.size());
  }
  if (below(random, 3) == 0) {
    for (int64_t i = below(random, n); i > 0; --i) excluded.push_back(below(random, n));
    for (const int64_t index : excluded) allowed[static_cast<size_t>(index)] = false;
    eligible.excluded = excluded.data();
    eligible.excluded_size = static_cast<int64_t>(excluded.size());
  }
  const std::vector<Ranked> order = specification(score, pool, seed, allowed);
  const int64_t k = 1 + below(random, n);
  std::vector<int64_t> indices(static_cast<size_t>(k), -7);
  std::vector<float> scores(static_cast<size_t>(k));
  const Outcome outcome = cpu::select_top_k(score, pool.beliefs(), eligible, {k, seed, true},
                                            any_settings(random), {indices.data(), scores.data()});
  if (k > static_cast<int64_t>(order.size())) {
    require(outcome.code == Outcome::kTooFewEligible, "too few are eligible", case_seed);
    require(outcome.where == static_cast<int64_t>(order.size()), "the count is told", case_seed);
    require(indices[0] == -7, "nothing is written on failure", case_seed);
    return;
  }
  require(outcome.code == Outcome::kDone, "the selection succeeds", case_seed);
  for (size_t i = 0; i < indices.size(); ++i) {
    require(indices[i] == order[i].index, "the indices are the specification's", case_seed);
    require(scores[i] == order[i].score, "the scores are score()'s", case_seed);
  }
}

// Selections from the parts of a pool, merged, are the selection from the whole.
void check_parts(uint64_t case_seed) {
  Random random(case_seed);
  const Case pool = any_case(random, 5000);
  const int64_t n = pool.beliefs().size, k = 1 + below(random, n);
  const AnyScore score = any_score(static_cast<int>(below(random, 8)), random);
  const uint64_t seed = random();
  const bool sorted = below(random, 2);
  std::vector<int64_t> found, merged(static_cast<size_t>(k)), expected(merged);
  std::vector<float> found_scores, merged_scores(merged.size()), expected_scores(merged.size());
  for (int64_t start = 0, size; start < n; start += size) {
    size = 1 + below(random, n - start);
    const int64_t best = std::min(k, size);
    const size_t before_it = found.size();
    found.resize(before_it + static_cast<size_t>(best));
    found_scores.resize(found.size());
    const Outcome outcome = cpu::select_top_k(
        score, pool.part(start, size), {}, {best, seed, sorted}, any_settings(random),
        {found.data() + before_it, found_scores.data() + before_it});
    require(outcome.code == Outcome::kDone, "the selection from a part succeeds", case_seed);
  }
  const SelectionRequest request{k, seed, sorted};
  cpu::merge_top_k({found.data(), found_scores.data()}, static_cast<int64_t>(found.size()), request,
                   {merged.data(), merged_scores.data()});
  cpu::select_top_k(score, pool.beliefs(), {}, request, any_settings(random),
                    {expected.data(), expected_scores.data()});
  require(merged == expected, "the parts' best are the whole's", case_seed);
  require(merged_scores == expected_scores, "with the same scores", case_seed);
}

void check_bad_belief(uint64_t case_seed) {
  Random random(case_seed);
  Case pool = any_case(random, 5000);
  const float bad[] = {0.0f, -1.0f, std::numeric_limits<float>::infinity(),
                       std::numeric_limits<float>::quiet_NaN()};
  int64_t first = pool.beliefs().size;
  for (int i = 0; i < 3; ++i) {
    const int64_t place = below(random, pool.beliefs().size);
    (i % 2 ? pool.alpha : pool.beta)[static_cast<size_t>(place)] = bad[below(random, 4)];
    first = std::min(first, place);
  }
  int64_t index;
  float score;
  const Outcome outcome = cpu::select_top_k(any_score(0, random), pool.beliefs(), {}, {1, 0, true},
                                            any_settings(random), {&index, &score});
  require(outcome.code == Outcome::kBadBelief, "a bad belief is found", case_seed);
  require(outcome.where == first, "the first is named", case_seed);
}

void check_bounds(uint64_t case_seed) {
  Random random(case_seed);
  const Case pool = any_case(random, 3000);
  Case padded = pool;
  while (padded.alpha.size() % 8) {
    padded.alpha.push_back(1.0f);
    padded.beta.push_back(1.0f);
  }
  const size_t n = padded.alpha.size();
  std::vector<float> bounds(n), scores(n);
  std::vector<int64_t> indices(n);
  for (size_t i = 0; i < n; ++i) indices[i] = static_cast<int64_t>(i);
  const cpu::Settings settings = any_settings(random);
  for (int kind = 0; kind < 8; ++kind) {
    AnyScore any = any_score(kind, random);
    if (kind < 4) any.parameters[1] = std::exp2(double(below(random, 40)) - 20.0);
    if (kind < 4) any.parameters[2] = double(below(random, 101)) / 100.0;
    const auto& kernels = cpu::kernels_for(settings.instruction_set, kind);
    insight_kernels::Prepared score;
    kernels.prepare(any.parameters, any.key(pool.first), &score);
    kernels.bounds(&score, padded.alpha.data(), padded.beta.data(), int64_t(n), bounds.data());
    kernels.score(&score, padded.alpha.data(), padded.beta.data(), indices.data(), int64_t(n),
                  scores.data());
    for (size_t i = 0; i < n; ++i) {
      require(!(bounds[i] < scores[i]), "no bound is below its score", case_seed * 8 + kind);
    }
  }
}

void check_index(uint64_t case_seed) {
  Random random(case_seed);
  Case pool = any_case(random, 20000);
  static constexpr int kinds[] = {0, 1, 2, 5, 6, 7};
  const AnyScore score = any_score(kinds[below(random, 6)], random);
  const int64_t n = pool.beliefs().size;
  const uint64_t seed = random();
  const cpu::Settings settings = any_settings(random);
  cpu::PoolIndex index(score, pool.beliefs(), seed, settings);
  require(index.rebuild().code == Outcome::kDone, "the index is built", case_seed);
  for (int step = 0; step < 6; ++step) {
    const int64_t k = 1 + below(random, std::max<int64_t>(1, std::min<int64_t>(n, n / 400 + 1)));
    std::vector<int64_t> got(static_cast<size_t>(k)), expected(got);
    std::vector<float> scores(got.size());
    require(index.select(k, true, nullptr, 0, {got.data(), scores.data()}).code == Outcome::kDone,
            "the index selects", case_seed);
    cpu::select_top_k(score, pool.beliefs(), {}, {k, seed, true}, settings,
                      {expected.data(), scores.data()});
    require(got == expected, "the index answers as the full pass", case_seed);
    for (int64_t& changed : got) {
      changed -= pool.first;
      pool.alpha[static_cast<size_t>(changed)] += static_cast<float>(below(random, 9));
    }
    index.update(got.data(), k);
  }
}

// More than 2^31 beliefs: a few pages, mapped again and again.
void check_draw(uint64_t case_seed) {
  Random random(case_seed);
  const int64_t size = below(random, 5000), count = below(random, size + 1);
  std::vector<int64_t> drawn(static_cast<size_t>(count));
  cpu::draw_distinct(size, count, random(), random(), drawn.data());
  std::sort(drawn.begin(), drawn.end());
  const bool distinct = std::adjacent_find(drawn.begin(), drawn.end()) == drawn.end();
  require(distinct, "drawn places are distinct", case_seed);
  require(count == 0 || (drawn.front() >= 0 && drawn.back() < size), "places are drawn from the pool",
          case_seed);
}

void check_past_two_to_the_31() {
  constexpr int64_t kBytes = int64_t{1} << 21, kValues = kBytes / 4;
  const int64_t n = (int64_t{1} << 31) + kValues;
  const int file = memfd_create("beliefs", 0);
  require(file >= 0 && ftruncate(file, kBytes) == 0, "memory is had", 0);
  void* space = mmap(nullptr, static_cast<size_t>(n * 4), PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  require(space != MAP_FAILED, "addresses are had", 0);
  for (int64_t at = 0; at < n * 4; at += kBytes) {
    mmap(static_cast<char*>(space) + at, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
         file, 0);
  }
  float* values = static_cast<float*>(space);
  for (int64_t i = 0; i < kValues; ++i) values[i] = 50.0f;
  values[77] = 1.0f;  // once in every mapping
  const int64_t k = n / kValues;
  std::vector<int64_t> indices(static_cast<size_t>(k));
  std::vector<float> scores(static_cast<size_t>(k));
  Random random(0);
  cpu::Settings settings;
  settings.threads = 2;
  const Outcome outcome = cpu::select_top_k(any_score(6, random), {values, values, n}, {},
                                            {k, 0, false}, settings,
                                            {indices.data(), scores.data()});
  require(outcome.code == Outcome::kDone, "2^31 beliefs are ranged over", 0);
  for (int64_t i = 0; i < k; ++i) {
    require(indices[static_cast<size_t>(i)] == 77 + i * kValues, "indices are 64-bit", 0);
  }
  munmap(space, static_cast<size_t>(n * 4));
  close(file);
}

void one_case(uint64_t case_seed, int64_t most) {
  check_selection(case_seed, most);
  check_parts(case_seed);
  check_bad_belief(case_seed);
  check_bounds(case_seed);
  check_index(case_seed);
  check_draw(case_seed);
}

}  // namespace

int main(int count, char** words) {
  const std::string mode = count > 1 ? words[1] : "check";
  if (mode == "fuzz") {
    const double limit = count > 2 ? std::atof(words[2]) : 60.0;
    const auto start = std::chrono::steady_clock::now();
    uint64_t cases = 0;
    uint64_t first = std::random_device{}();
    while (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < limit) {
      one_case((first << 20) + cases++, 6000);
    }
    std::printf("fuzz: %llu cases from %llu, all as specified\n",
                static_cast<unsigned long long>(cases), static_cast<unsigned long long>(first << 20));
    return 0;
  }
  for (uint64_t seed = 0; seed < 25; ++seed) one_case(seed, 30000);
  if (mode == "check") check_past_two_to_the_31();
  std::printf("%s: all as specified\n", mode.c_str());
}
