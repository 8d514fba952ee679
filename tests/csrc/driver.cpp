// Exercises the CPU back end without Python or torch, so that sanitizers see all of it.
//   driver brief          every pool, thread count, instruction set, fallback and fault once
//   driver check          that, and a pool of 2^31 beliefs
//   driver fuzz SECONDS   that of `brief`, then random inputs until the time is over
//   driver case NUMBER    one of those again
// Everything is held against the specification: valid inputs, arguments out of their domain,
// invalid beliefs and lists, threads that cannot be started, pools that change meanwhile. A case
// that does not end is reported.
#include <dlfcn.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cfenv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "../../csrc/cpu/cpu.h"
#include "../../csrc/cpu/draw.h"
#include "../../csrc/cpu/pool_index.h"

using namespace insight;

// How many more threads the system grants.
static std::atomic<int64_t> threads_left{1 << 30};

// Every thread is started by this one instead of the library's.
extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                              void* (*start)(void*), void* argument) {
  using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const Create create = reinterpret_cast<Create>(dlsym(RTLD_NEXT, "pthread_create"));
  if (threads_left.fetch_sub(1) <= 0) return EAGAIN;
  return create(thread, attributes, start, argument);
}

namespace {

using Random = std::mt19937_64;

uint64_t inputs = 0;  // tried so far
uint64_t running = 0;  // case

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

// The specification: score everything, sort everything that is allowed. What is allowed is valid.
std::vector<Ranked> specification(const AnyScore& score, const Case& pool, uint64_t seed,
                                  const std::vector<bool>& allowed) {
  std::vector<float> scores(pool.alpha.size());
  cpu::Settings plain;
  plain.instruction_set = cpu::InstructionSet::kPortable;
  Case valid = pool;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (!is_belief(pool.alpha[i], pool.beta[i])) valid.alpha[i] = valid.beta[i] = 1.0f;
  }
  cpu::score(score, valid.beliefs(), plain, scores.data());
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
  threads_left = below(random, 4) ? 1 << 30 : below(random, 3);
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

constexpr float kInvalid[] = {0.0f, -1.0f, std::numeric_limits<float>::infinity(),
                              -std::numeric_limits<float>::infinity(),
                              std::numeric_limits<float>::quiet_NaN()};
constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
constexpr int64_t kLargest = std::numeric_limits<int64_t>::max();

int64_t any_outside(Random& random, int64_t size) {
  const int64_t outside[] = {-1, size, size + 1, kLeast, kLargest, int64_t{40} << 30};
  return outside[below(random, 6)];
}

// Mostly all in the pool; else some are outside, or all from somewhere on.
std::vector<int64_t> any_list(Random& random, int64_t length, int64_t size) {
  std::vector<int64_t> list;
  for (int64_t i = 0; i < length; ++i) list.push_back(below(random, size));
  if (length == 0 || below(random, 4)) return list;
  const int64_t from = below(random, length), step = below(random, 2) ? 1 : 1 + below(random, length);
  for (int64_t i = from; i < length; i += step) {
    list[static_cast<size_t>(i)] = any_outside(random, size);
  }
  return list;
}

// As bytes, since std::vector<bool> has none.
using Mask = std::vector<uint8_t>;

Mask any_mask(Random& random, int64_t size) {
  Mask mask;
  const int64_t share = 1 + below(random, 10);
  for (int64_t i = 0; i < size; ++i) mask.push_back(below(random, share) == 0);
  return mask;
}

const bool* as_mask(const Mask& mask) { return reinterpret_cast<const bool*>(mask.data()); }

// What a selection must say: the first fault, in the order in which top_k.h lists them.
struct Expected {
  Outcome outcome;
  std::vector<Ranked> order;  // of all eligible prompts, if nothing is wrong
};

Expected specification_of(const AnyScore& score, const Case& pool, const Eligible& eligible,
                          int64_t k, uint64_t seed) {
  const int64_t n = pool.beliefs().size;
  const auto outside = [n](int64_t index) { return index < 0 || index >= n; };
  const auto valid = [&](int64_t i) {
    return is_belief(pool.alpha[static_cast<size_t>(i)], pool.beta[static_cast<size_t>(i)]);
  };
  for (int64_t i = 0; i < eligible.excluded_size; ++i) {
    if (outside(eligible.excluded[i])) return {{Outcome::kBadExclusion, i}, {}};
  }
  std::vector<bool> allowed(static_cast<size_t>(n), !eligible.candidates);
  for (int64_t i = 0; i < eligible.candidates_size; ++i) {
    const int64_t index = eligible.candidates[i];
    if (outside(index)) return {{Outcome::kBadCandidate, i}, {}};
    if (!valid(index)) return {{Outcome::kBadBelief, index}, {}};
    allowed[static_cast<size_t>(index)] = true;
  }
  for (int64_t i = 0; i < n; ++i) {
    if (!eligible.candidates && !valid(i)) return {{Outcome::kBadBelief, i}, {}};
    if (eligible.candidate_mask && !eligible.candidate_mask[i]) allowed[static_cast<size_t>(i)] = false;
    if (eligible.exclusion_mask && eligible.exclusion_mask[i]) allowed[static_cast<size_t>(i)] = false;
  }
  for (int64_t i = 0; i < eligible.excluded_size; ++i) {
    allowed[static_cast<size_t>(eligible.excluded[i])] = false;
  }
  Expected expected{{}, specification(score, pool, seed, allowed)};
  const int64_t count = static_cast<int64_t>(expected.order.size());
  if (count < k) expected.outcome = {Outcome::kTooFewEligible, count};
  return expected;
}

void check_selection(uint64_t case_seed, int64_t most) {
  Random random(case_seed);
  Case pool = any_case(random, most);
  const int64_t n = pool.beliefs().size;
  const AnyScore score = any_score(static_cast<int>(below(random, 8)), random);
  const uint64_t seed = random();
  if (below(random, 6) == 0) {
    for (int64_t i = below(random, 4); i >= 0; --i) {
      (i % 2 ? pool.alpha : pool.beta)[static_cast<size_t>(below(random, n))] =
          kInvalid[below(random, 5)];
    }
  }
  const std::vector<int64_t> listed = any_list(random, 1 + below(random, 2 * n), n);
  const std::vector<int64_t> excluded = any_list(random, below(random, n), n);
  const Mask mask = any_mask(random, n), exclusion_mask = any_mask(random, n);
  Eligible eligible;
  switch (below(random, 5)) {
    case 0:
      eligible.candidates = listed.data();
      eligible.candidates_size = static_cast<int64_t>(listed.size());
      break;
    case 1:
      eligible.candidate_mask = as_mask(mask);
  }
  switch (below(random, 5)) {
    case 0:
      eligible.excluded = excluded.data();
      eligible.excluded_size = static_cast<int64_t>(excluded.size());
      break;
    case 1:
      eligible.exclusion_mask = as_mask(exclusion_mask);
  }
  const int64_t k = 1 + below(random, n), asked = below(random, 20) ? k : kLargest - below(random, 2);
  const Expected expected = specification_of(score, pool, eligible, asked, seed);
  std::vector<int64_t> indices(static_cast<size_t>(k), -7);
  std::vector<float> scores(static_cast<size_t>(k));
  const Outcome outcome = cpu::select_top_k(score, pool.beliefs(), eligible, {asked, seed, true},
                                            any_settings(random), {indices.data(), scores.data()});
  ++inputs;
  require(outcome.code == expected.outcome.code, "the outcome is the specification's", case_seed);
  require(outcome.where == expected.outcome.where, "it names the first fault", case_seed);
  if (outcome.code != Outcome::kDone) {
    require(indices[0] == -7, "nothing is written on failure", case_seed);
    return;
  }
  for (size_t i = 0; i < indices.size(); ++i) {
    require(indices[i] == expected.order[i].index, "the indices are the specification's", case_seed);
    require(scores[i] == expected.order[i].score, "the scores are score()'s", case_seed);
  }
}

template <class Call>
bool is_refused(const Call& call) {
  ++inputs;
  try {
    call();
  } catch (const ArgumentError& error) {
    return std::strlen(error.what()) > 0;
  }
  return false;
}

void check_refusals(uint64_t case_seed) {
  Random random(case_seed);
  std::vector<float> values(100, 1.0f);
  std::vector<int64_t> indices(100);
  const int64_t negative = -1 - (below(random, 2) ? 0 : below(random, kLargest));
  AnyScore score = any_score(static_cast<int>(below(random, 8)), random);
  Beliefs beliefs{values.data(), values.data(), 100};
  Eligible eligible;
  SelectionRequest request{5, 0, true};
  Selection selection{indices.data(), values.data()};
  cpu::Settings settings;
  const double not_a_parameter[] = {-1.0, 0.5e7, std::numeric_limits<double>::quiet_NaN(),
                                    std::numeric_limits<double>::infinity(), -1e300};
  switch (below(random, 14)) {
    case 0: score.kind = static_cast<ScoreKind>(below(random, 2) ? 8 : negative % (1 << 30)); break;
    case 1:
      score.kind = static_cast<ScoreKind>(below(random, 6));
      score.parameters[0] = not_a_parameter[below(random, 5)];
      break;
    case 2:
      score.kind = static_cast<ScoreKind>(below(random, 4));
      score.parameters[0] = 8;
      score.parameters[1 + below(random, 2)] = not_a_parameter[below(random, 5)];
      break;
    case 3: beliefs.size = negative; break;
    case 4: beliefs.first = below(random, 2) ? negative : kLargest - 99; break;
    case 5: (below(random, 2) ? beliefs.alpha : beliefs.beta) = nullptr; break;
    case 6: request.k = below(random, 2) ? 0 : negative; break;
    case 7: eligible.candidates_size = below(random, 2) ? negative : 3; break;
    case 8: eligible.excluded_size = below(random, 2) ? negative : 3; break;
    case 9: selection.indices = nullptr; break;
    case 10: selection.scores = nullptr; break;
    case 11: {
      const int past = 1 + static_cast<int>(cpu::best_instruction_set());
      settings.instruction_set = static_cast<cpu::InstructionSet>(below(random, 2) ? past : -1);
      break;
    }
    case 12: {
      int64_t* const numbers[] = {&settings.tuning.block, &settings.tuning.least_per_thread,
                                  &settings.tuning.sample_least, &settings.tuning.sample_most,
                                  &settings.tuning.sample_share};
      *numbers[below(random, 5)] = below(random, 2) ? 0 : kLeast;
      break;
    }
    case 13:
      eligible.candidates = indices.data();
      eligible.candidate_mask = reinterpret_cast<const bool*>(values.data());
  }
  require(is_refused([&] {
            cpu::select_top_k(score, beliefs, eligible, request, settings, selection);
          }),
          "an argument outside its domain is refused", case_seed);
  const int64_t count = below(random, 2) ? negative : 101;
  require(is_refused([&] { cpu::draw_distinct(100, count, 0, 0, indices.data()); }),
          "more than there are cannot be drawn", case_seed);
  require(is_refused([&] { cpu::draw_distinct(negative, 0, 0, 0, indices.data()); }),
          "nothing is drawn from fewer than none", case_seed);
  require(is_refused([&] {
            cpu::merge_top_k({indices.data(), values.data()}, negative, {1}, selection);
          }),
          "fewer than no prompts are not merged", case_seed);
  require(is_refused([&] {
            cpu::PoolIndex({ScoreKind::kThompson, {0.5}, 0, 0}, {values.data(), values.data(), 100},
                           0, {});
          }),
          "no index is built for random scores", case_seed);
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

// The full pass's answer, whatever became of the index before.
void check_index(uint64_t case_seed) {
  Random random(case_seed);
  Case pool = any_case(random, 20000);
  static constexpr int kinds[] = {0, 1, 2, 5, 6, 7};
  const AnyScore score = any_score(kinds[below(random, 6)], random);
  const int64_t n = pool.beliefs().size;
  const uint64_t seed = random();
  const cpu::Settings settings = any_settings(random);
  cpu::PoolIndex index(score, pool.beliefs(), seed, settings);
  if (below(random, 2)) {
    require(index.rebuild().code == Outcome::kDone, "the index is built", case_seed);
  }
  for (int step = 0; step < 6; ++step) {
    if (below(random, 4) == 0) {  // everything changes, and the rebuild fails
      for (float& value : pool.alpha) value += static_cast<float>(below(random, 3));
      const std::vector<float> mended = pool.beta;
      const int64_t bad = below(random, n);
      for (int64_t i = bad; i < n; i += 1 + below(random, n)) {
        pool.beta[static_cast<size_t>(i)] = kInvalid[below(random, 5)];
      }
      const Outcome outcome = index.rebuild();
      require(outcome.code == Outcome::kBadBelief && outcome.where == bad,
              "a rebuild names the first invalid belief", case_seed);
      std::copy(mended.begin(), mended.end(), pool.beta.begin());
    }
    const int64_t k = 1 + below(random, std::max<int64_t>(1, std::min<int64_t>(n, n / 400 + 1)));
    const std::vector<int64_t> excluded = any_list(random, below(random, 4), n);
    Eligible eligible;
    eligible.excluded = excluded.data();
    eligible.excluded_size = static_cast<int64_t>(excluded.size());
    std::vector<int64_t> got(static_cast<size_t>(k), -7), expected(got);
    std::vector<float> scores(got.size());
    const Outcome outcome = index.select(k, true, eligible.excluded, eligible.excluded_size,
                                         {got.data(), scores.data()});
    const Outcome full = cpu::select_top_k(score, pool.beliefs(), eligible, {k, seed, true}, settings,
                                           {expected.data(), scores.data()});
    ++inputs;
    require(outcome.code == full.code && outcome.where == full.where && got == expected,
            "the index answers as the full pass", case_seed);
    std::vector<int64_t> changed = any_list(random, k, n);
    for (const int64_t i : changed) {
      if (i >= 0 && i < n) pool.alpha[static_cast<size_t>(i)] += static_cast<float>(below(random, 9));
    }
    while (index.update(changed.data(), int64_t(changed.size())).code != Outcome::kDone) {
      changed.erase(std::remove_if(changed.begin(), changed.end(),
                                   [n](int64_t i) { return i < 0 || i >= n; }),
                    changed.end());
    }
  }
}

// Memory that is mapped twice. What another thread writes at `there` changes what is read at
// `here`, as if another process wrote it: the thread sanitizer then watches everything but the
// reads of the beliefs, which are plain because vectors cannot be atomic. Such a read may give the
// old or the new number; what may come of it is what is tested.
template <class T>
struct SharedArray {
  T* here;
  volatile T* there;
  size_t size, bytes;

  explicit SharedArray(size_t size) : size(size), bytes(size * sizeof(T)) {
    const int file = memfd_create("shared", 0);
    require(file >= 0 && ftruncate(file, static_cast<off_t>(bytes)) == 0, "memory is had", 0);
    here = map(file);
    there = map(file);
    close(file);
  }
  ~SharedArray() {
    munmap(here, bytes);
    munmap(const_cast<T*>(there), bytes);
  }
  SharedArray(const SharedArray&) = delete;
  SharedArray& operator=(const SharedArray&) = delete;

 private:
  T* map(int file) const {
    void* const at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    require(at != MAP_FAILED, "addresses are had", 0);
    return static_cast<T*>(at);
  }
};

// Writes until told to stop.
class Disturber {
 public:
  template <class Write>
  explicit Disturber(Write write) {
    threads_left = 1 << 30;
    thread_ = std::thread([this, write]() mutable {
      while (!stop_.load(std::memory_order_relaxed)) write();
    });
  }
  ~Disturber() {
    stop_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

void check_answer(const Outcome& outcome, const std::vector<int64_t>& indices,
                  const std::vector<float>& scores, const Beliefs& pool, uint64_t case_seed) {
  ++inputs;
  if (outcome.code != Outcome::kDone) return;
  for (size_t i = 0; i < indices.size(); ++i) {
    require(indices[i] >= pool.first && indices[i] < pool.first + pool.size,
            "every index is in the pool", case_seed);
    require(scores[i] == scores[i], "every score is a number", case_seed);
  }
}

// Beliefs and lists that another thread changes, one of each between sound and unsound.
void check_disturbed(uint64_t case_seed) {
  Random random(case_seed);
  const Case made = any_case(random, below(random, 4) ? 400 : 20000);
  const int64_t n = made.beliefs().size, listed_most = 64;
  SharedArray<float> alpha(made.alpha.size()), beta(made.beta.size());
  std::copy(made.alpha.begin(), made.alpha.end(), alpha.there);
  std::copy(made.beta.begin(), made.beta.end(), beta.there);
  SharedArray<int64_t> listed(static_cast<size_t>(1 + below(random, 2 * n)));
  for (size_t i = 0; i < listed.size; ++i) listed.there[i] = below(random, n);
  const int64_t listed_size = static_cast<int64_t>(listed.size);
  const Beliefs pool{alpha.here, beta.here, n, made.first};
  const AnyScore score = any_score(static_cast<int>(below(random, 8)), random);
  const AnyScore steady =
      any_score(static_cast<int>(below(random, 2) ? 0 : 5 + below(random, 3)), random);
  const Disturber disturber([&, own = Random(case_seed),
                             spot = static_cast<size_t>(below(random, n)),
                             place = static_cast<size_t>(
                                 below(random, std::min(listed_size, listed_most)))]() mutable {
    const float invalid = kInvalid[below(own, 5)], valid = any_belief(own, 3);
    const int64_t outside = any_outside(own, n), inside = below(own, n);
    for (int turn = 0; turn < 20; ++turn) {
      alpha.there[spot] = invalid;
      listed.there[place] = outside;
      if (turn == 0) beta.there[static_cast<size_t>(inside)] = valid;
      alpha.there[spot] = valid;
      listed.there[place] = inside;
    }
  });
  cpu::Settings settings = any_settings(random);
  cpu::PoolIndex index(steady, pool, 0, settings);
  std::vector<float> all(static_cast<size_t>(n));
  for (int turn = 0; turn < 32; ++turn) {
    const int64_t k = 1 + below(random, turn % 2 ? n : std::min<int64_t>(n, 1 + n / 500));
    std::vector<int64_t> got(static_cast<size_t>(k));
    std::vector<float> scores(got.size());
    const Selection selection{got.data(), scores.data()};
    const SelectionRequest request{k, random(), below(random, 2) == 0};
    Eligible eligible;
    if (below(random, 2)) {
      eligible.candidates = listed.here;
      eligible.candidates_size = listed_size;
    }
    if (below(random, 3) == 0) {
      eligible.excluded = listed.here;
      eligible.excluded_size = std::min<int64_t>(listed_size, 9);
    }
    check_answer(cpu::select_top_k(score, pool, eligible, request, settings, selection), got,
                 scores, pool, case_seed);
    check_answer(index.select(k, request.sorted, nullptr, 0, selection), got, scores, pool,
                 case_seed);
    index.update(listed.here, std::min(listed_size, listed_most));
    cpu::score(score, pool, settings, all.data());
    inputs += 2;
  }
}

// An index that threads share, and a process that is forked meanwhile.
void check_shared_index(uint64_t case_seed) {
  Random random(case_seed);
  const Case pool = any_case(random, 5000);
  const int64_t n = pool.beliefs().size, k = 1 + below(random, std::min<int64_t>(n, 20));
  const AnyScore score = any_score(0, random);
  cpu::PoolIndex index(score, pool.beliefs(), 0, {});
  std::vector<int64_t> expected(static_cast<size_t>(k));
  std::vector<float> scores(expected.size());
  cpu::select_top_k(score, pool.beliefs(), {}, {k, 0, true}, {}, {expected.data(), scores.data()});
  const auto use = [&](Random& own) {
    std::vector<int64_t> got(expected.size());
    std::vector<float> got_scores(expected.size());
    const int64_t changed = below(own, n);
    if (below(own, 4) == 0) index.rebuild();
    index.update(&changed, 1);
    index.select(k, true, nullptr, 0, {got.data(), got_scores.data()});
    require(got == expected && index.visited() <= n, "threads share an index", case_seed);
    ++inputs;
  };
  const Disturber other([&, own = Random(case_seed)]() mutable {
    const int64_t changed = below(own, n);
    if (below(own, 8) == 0) index.rebuild();
    index.update(&changed, 1);
  });
  for (int turn = 0; turn < 8; ++turn) use(random);
  const pid_t child = fork();
  require(child >= 0, "a process is forked", case_seed);
  if (child == 0) {
    alarm(60);
    use(random);
    _exit(0);
  }
  int status = 1;
  waitpid(child, &status, 0);
  require(status == 0, "a forked process uses the index", case_seed);
}

// Flushed denormals, another direction of rounding and traps are the caller's own affair.
void check_arithmetic(uint64_t case_seed) {
  Random random(case_seed);
  Case pool = any_case(random, 3000);
  for (float& value : pool.alpha) {
    if (below(random, 3) == 0) value = std::numeric_limits<float>::denorm_min();
  }
  const AnyScore score = any_score(static_cast<int>(below(random, 8)), random);
  const int64_t k = 1 + below(random, pool.beliefs().size);
  std::vector<int64_t> expected(static_cast<size_t>(k)), got(expected);
  std::vector<float> expected_scores(expected.size()), scores(expected.size());
  const SelectionRequest request{k, random(), true};
  const cpu::Settings settings = any_settings(random);
  cpu::select_top_k(score, pool.beliefs(), {}, request, settings,
                    {expected.data(), expected_scores.data()});
  std::fesetround(FE_UPWARD);
#ifdef __x86_64__
  const unsigned flush = 0x8040, before = __builtin_ia32_stmxcsr();
  __builtin_ia32_ldmxcsr(before | flush);
#endif
  const Outcome outcome =
      cpu::select_top_k(score, pool.beliefs(), {}, request, settings, {got.data(), scores.data()});
#ifdef __x86_64__
  const bool kept = (__builtin_ia32_stmxcsr() & flush) == flush;
  __builtin_ia32_ldmxcsr(before);
  require(kept, "the caller's arithmetic is left as it was", case_seed);
#endif
  require(std::fegetround() == FE_UPWARD, "the caller's rounding is left as it was", case_seed);
  std::fesetround(FE_TONEAREST);
  ++inputs;
  require(outcome.code == Outcome::kDone && got == expected && scores == expected_scores,
          "the caller's arithmetic plays no part", case_seed);
}

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

// More than 2^31 beliefs: a few pages, mapped again and again.
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
  alarm(300);
  running = case_seed;
  check_selection(case_seed, most);
  check_refusals(case_seed);
  check_parts(case_seed);
  check_bounds(case_seed);
  check_index(case_seed);
  check_arithmetic(case_seed);
  check_draw(case_seed);
  if (case_seed % 8 == 0) check_disturbed(case_seed);
  if (case_seed % 32 == 0) check_shared_index(case_seed);
}

void report_a_case_that_does_not_end(int) {
  std::printf("case %llu: does not end\n", static_cast<unsigned long long>(running));
  std::fflush(stdout);
  _exit(1);
}

}  // namespace

int main(int count, char** words) {
  const std::string mode = count > 1 ? words[1] : "check";
  std::signal(SIGALRM, report_a_case_that_does_not_end);
  if (mode == "case" && count > 2) {
    one_case(std::strtoull(words[2], nullptr, 10), 6000);
    return 0;
  }
  for (uint64_t seed = 0; seed < 32; ++seed) one_case(seed, 30000);
  if (mode == "check") check_past_two_to_the_31();
  const double limit = mode != "fuzz" ? 0.0 : count > 2 ? std::atof(words[2]) : 60.0;
  const auto start = std::chrono::steady_clock::now();
  const uint64_t first = uint64_t{std::random_device{}()} << 20;
  for (uint64_t seed = first;
       std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < limit;) {
    one_case(seed++, 6000);
  }
  std::printf("%s: %llu inputs tried, from case %llu on, all as specified\n", mode.c_str(),
              static_cast<unsigned long long>(inputs), static_cast<unsigned long long>(first));
}
