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

#include "../../csrc/cpu/instruction_set.h"

using namespace insight;

// How many more threads the system grants.
static std::atomic<int64_t> threads_left{1 << 30};

#ifdef __GLIBC__
// Every thread is started by this one instead of the library's. (Elsewhere the program may be static,
// which has no other one, and every thread is granted.)
extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                              void* (*start)(void*), void* argument) {
  using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const Create create = reinterpret_cast<Create>(dlsym(RTLD_NEXT, "pthread_create"));
  if (threads_left.fetch_sub(1) <= 0) return EAGAIN;
  return create(thread, attributes, start, argument);
}
#endif

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

insight_score any_score(int kind, Random& random) {
  const double rollouts = 1 + below(random, kind == 7 ? 40 : 20);
  insight_score score{kind, parameter_count(kind), {rollouts, 3.0, 0.3}, random(), random()};
  if (kind == 4 || kind == 5) score.parameters[0] = 0.5;
  return score;
}

Request ask(const insight_score& score, const Beliefs& beliefs, int64_t k = 0, uint64_t seed = 0,
            bool sorted = true) {
  return {sizeof(Request), score, beliefs, {}, {}, k, seed, sorted};
}

template <class Element>
insight_subset subset(int64_t form, const std::vector<Element>& elements) {
  return {form, elements.data(), static_cast<int64_t>(elements.size())};
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

// A place on the CPU.
struct Settings {
  insight_place place{};
  std::vector<insight_setting> tuning;

  Settings() {
    place.bytes = sizeof(place);
    place.threads = 1;
  }
  const insight_place* get() {
    place.tuning = tuning.data();
    place.tuning_size = static_cast<int64_t>(tuning.size());
    return &place;
  }

  Outcome score(const Request& request, float* scores) {
    const Result result{sizeof(Result), nullptr, scores, nullptr, nullptr, 0};
    return insight_score_all(&request, get(), &result);
  }
  Outcome select(const Request& request, int64_t* indices, float* scores) {
    const Result result{sizeof(Result), indices, scores, nullptr, nullptr, 0};
    return insight_select_top_k(&request, get(), &result);
  }
};

// The specification: score everything, sort everything that is allowed. What is allowed is valid.
std::vector<Ranked> specification(const insight_score& score, const Case& pool, uint64_t seed,
                                  const std::vector<bool>& allowed) {
  std::vector<float> scores(pool.alpha.size());
  Settings plain;
  plain.place.instruction_set = "portable";
  Case valid = pool;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (!is_belief(pool.alpha[i], pool.beta[i])) valid.alpha[i] = valid.beta[i] = 1.0f;
  }
  plain.score(ask(score, valid.beliefs()), scores.data());
  std::vector<Ranked> order;
  for (size_t i = 0; i < scores.size(); ++i) {
    const int64_t index = pool.first + static_cast<int64_t>(i);
    if (allowed[i]) order.push_back({scores[i], tie_hash(hash_key(seed), index), index});
  }
  std::sort(order.begin(), order.end(), Before{});
  return order;
}

Settings any_settings(Random& random) {
  Settings settings;
  settings.place.threads = 1 + below(random, 4);
  threads_left = below(random, 4) ? 1 << 30 : below(random, 3);
  int64_t sets = 0;
  while (insight_instruction_set(sets)) ++sets;
  settings.place.instruction_set = insight_instruction_set(below(random, sets));
  if (below(random, 2)) {
    settings.tuning = {{"block", 1 + below(random, 2000)}, {"least_per_thread", 1},
                       {"sample_least", 64},               {"sample_most", 64},
                       {"sample_rank", below(random, 4)},  {"capacity", 1 + below(random, 50)}};
  }
  return settings;
}

// An index over beliefs, and what is asked of it.
struct Index {
  insight_index* index = nullptr;
  Request request;

  Index(const Request& request, Settings settings) : request(request) {
    insight_index_new(&request, settings.get(), &index);
  }
  ~Index() { insight_index_free(index); }
  Index(const Index&) = delete;
  Index& operator=(const Index&) = delete;

  Outcome rebuild() { return insight_index_rebuild(index); }
  Outcome update(const int64_t* indices, int64_t count) {
    const insight_subset changed{INSIGHT_LIST, indices, count};
    return insight_index_update(index, &changed);
  }
  Outcome select(int64_t k, bool sorted, const insight_subset& exclude, int64_t* indices,
                 float* scores) {
    const Result result{sizeof(Result), indices, scores, nullptr, nullptr, 0};
    return insight_index_select(index, k, sorted, &exclude, &result);
  }
};

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

// What a selection must say: the first fault, in the order in which insight.h lists them.
struct Expected {
  Outcome outcome;
  std::vector<Ranked> order;  // of all eligible prompts, if nothing is wrong
};

Expected specification_of(const Request& request, const Case& pool) {
  const Eligible eligible(request);
  const int64_t n = pool.beliefs().size;
  const auto outside = [n](int64_t index) { return index < 0 || index >= n; };
  const auto valid = [&](int64_t i) {
    return is_belief(pool.alpha[static_cast<size_t>(i)], pool.beta[static_cast<size_t>(i)]);
  };
  for (int64_t i = 0; i < eligible.excluded_size; ++i) {
    if (outside(eligible.excluded[i])) return {{INSIGHT_BAD_EXCLUSION, i}, {}};
  }
  std::vector<bool> allowed(static_cast<size_t>(n), !eligible.candidates);
  for (int64_t i = 0; i < eligible.candidates_size; ++i) {
    const int64_t index = eligible.candidates[i];
    if (outside(index)) return {{INSIGHT_BAD_CANDIDATE, i}, {}};
    if (!valid(index)) return {{INSIGHT_BAD_BELIEF, index}, {}};
    allowed[static_cast<size_t>(index)] = true;
  }
  for (int64_t i = 0; i < n; ++i) {
    if (!eligible.candidates && !valid(i)) return {{INSIGHT_BAD_BELIEF, i}, {}};
    if (eligible.candidate_mask && !eligible.candidate_mask[i]) allowed[static_cast<size_t>(i)] = false;
    if (eligible.exclusion_mask && eligible.exclusion_mask[i]) allowed[static_cast<size_t>(i)] = false;
  }
  for (int64_t i = 0; i < eligible.excluded_size; ++i) {
    allowed[static_cast<size_t>(eligible.excluded[i])] = false;
  }
  Expected expected{{}, specification(request.score, pool, request.seed, allowed)};
  const int64_t count = static_cast<int64_t>(expected.order.size());
  if (count < request.k) expected.outcome = {INSIGHT_TOO_FEW_ELIGIBLE, count};
  return expected;
}

void check_selection(uint64_t case_seed, int64_t most) {
  Random random(case_seed);
  Case pool = any_case(random, most);
  const int64_t n = pool.beliefs().size;
  if (below(random, 6) == 0) {
    for (int64_t i = below(random, 4); i >= 0; --i) {
      (i % 2 ? pool.alpha : pool.beta)[static_cast<size_t>(below(random, n))] =
          kInvalid[below(random, 5)];
    }
  }
  const int64_t k = 1 + below(random, n);
  Request request = ask(any_score(static_cast<int>(below(random, 8)), random), pool.beliefs(), k,
                        random());
  const std::vector<int64_t> listed = any_list(random, 1 + below(random, 2 * n), n);
  const std::vector<int64_t> excluded = any_list(random, below(random, n), n);
  const Mask mask = any_mask(random, n), exclusion_mask = any_mask(random, n);
  switch (below(random, 5)) {
    case 0: request.candidates = subset(INSIGHT_LIST, listed); break;
    case 1: request.candidates = subset(INSIGHT_MASK, mask);
  }
  switch (below(random, 5)) {
    case 0: request.exclude = subset(INSIGHT_LIST, excluded); break;
    case 1: request.exclude = subset(INSIGHT_MASK, exclusion_mask);
  }
  const Expected expected = specification_of(request, pool);
  std::vector<int64_t> indices(static_cast<size_t>(k), -7);
  std::vector<float> scores(static_cast<size_t>(k));
  const Outcome outcome = any_settings(random).select(request, indices.data(), scores.data());
  ++inputs;
  require(outcome.code == expected.outcome.code, "the outcome is the specification's", case_seed);
  require(outcome.where == expected.outcome.where, "it names the first fault", case_seed);
  if (outcome.code != INSIGHT_DONE) {
    require(indices[0] == -7, "nothing is written on failure", case_seed);
    return;
  }
  for (size_t i = 0; i < indices.size(); ++i) {
    require(indices[i] == expected.order[i].index, "the indices are the specification's", case_seed);
    require(scores[i] == expected.order[i].score, "the scores are score()'s", case_seed);
  }
}

bool is_refused(const Outcome& outcome) {
  ++inputs;
  return outcome.code == INSIGHT_BAD_ARGUMENT && std::strlen(insight_message()) > 0;
}

void check_refusals(uint64_t case_seed) {
  Random random(case_seed);
  std::vector<float> values(100, 1.0f);
  std::vector<int64_t> indices(100);
  const int64_t negative = -1 - (below(random, 2) ? 0 : below(random, kLargest));
  Request request = ask(any_score(static_cast<int>(below(random, 8)), random),
                        {values.data(), values.data(), 100, 0}, 5);
  const Request sound = request;
  Result result{sizeof(Result), indices.data(), values.data(), nullptr, nullptr, 0};
  Settings settings;
  insight_subset& restricted = below(random, 2) ? request.candidates : request.exclude;
  const double not_a_parameter[] = {-1.0, 0.5e7, std::numeric_limits<double>::quiet_NaN(),
                                    std::numeric_limits<double>::infinity(), -1e300};
  switch (below(random, 17)) {
    case 0: request.score.kind = below(random, 2) ? 8 : negative; break;
    case 1:
      request.score = any_score(static_cast<int>(below(random, 6)), random);
      request.score.parameters[0] = not_a_parameter[below(random, 5)];
      break;
    case 2:
      request.score = any_score(static_cast<int>(below(random, 4)), random);
      request.score.parameters[1 + below(random, 2)] = not_a_parameter[below(random, 5)];
      break;
    case 3: request.beliefs.size = negative; break;
    case 4: request.beliefs.first = below(random, 2) ? negative : kLargest - 99; break;
    case 5: (below(random, 2) ? request.beliefs.alpha : request.beliefs.beta) = nullptr; break;
    case 6: request.k = below(random, 2) ? 101 : negative; break;
    case 7: restricted = {INSIGHT_LIST, indices.data(), negative}; break;
    case 8: restricted = {1 + below(random, 2), nullptr, 100}; break;
    case 9: result.indices = nullptr; break;
    case 10: result.scores = nullptr; break;
    case 11: settings.place.instruction_set = below(random, 2) ? "avx1024" : ""; break;
    case 12: {
      const char* const names[] = {"block", "least_per_thread", "sample_least", "sample_most",
                                   "sample_share"};
      settings.tuning = {{names[below(random, 5)], below(random, 2) ? 0 : kLeast}};
      break;
    }
    case 13: restricted = {below(random, 2) ? 3 : negative, indices.data(), 100}; break;
    case 14: restricted = {INSIGHT_MASK, values.data(), below(random, 2) ? 99 : 101}; break;
    case 15: request.score.parameter_count = below(random, 2) ? negative : 4; break;
    case 16: {  // another version's struct, or another back end's tuning
      uint64_t* const sizes[] = {&request.bytes, &settings.place.bytes, &result.bytes};
      *sizes[below(random, 3)] -= 8;
      if (below(random, 2)) settings.tuning = {{"unsampled", 0}};
    }
  }
  require(is_refused(insight_select_top_k(&request, settings.get(), &result)),
          "an argument outside its domain is refused", case_seed);
  require(is_refused(insight_select_top_k(nullptr, settings.get(), &result)) &&
              is_refused(insight_select_top_k(&sound, nullptr, &result)) &&
              is_refused(insight_select_top_k(&sound, Settings().get(), nullptr)),
          "structs that are not there are refused", case_seed);
  const int64_t count = below(random, 2) ? negative : 101;
  require(is_refused(insight_draw_distinct(100, count, 0, 0, indices.data())),
          "more than there are cannot be drawn", case_seed);
  require(is_refused(insight_draw_distinct(negative, 0, 0, 0, indices.data())),
          "nothing is drawn from fewer than none", case_seed);
  require(is_refused(insight_merge_top_k(&sound, indices.data(), values.data(), negative, &result)),
          "fewer than no prompts are not merged", case_seed);
  Request drawn = sound;
  drawn.score = any_score(INSIGHT_THOMPSON, random);
  insight_index* index = nullptr;
  require(is_refused(insight_index_new(&drawn, Settings().get(), &index)) && !index,
          "no index is built for random scores", case_seed);
}

// Selections from the parts of a pool, merged, are the selection from the whole.
void check_parts(uint64_t case_seed) {
  Random random(case_seed);
  const Case pool = any_case(random, 5000);
  const int64_t n = pool.beliefs().size, k = 1 + below(random, n);
  const Request whole = ask(any_score(static_cast<int>(below(random, 8)), random), pool.beliefs(), k,
                            random(), below(random, 2));
  std::vector<int64_t> found, merged(static_cast<size_t>(k)), expected(merged);
  std::vector<float> found_scores, merged_scores(merged.size()), expected_scores(merged.size());
  for (int64_t start = 0, size; start < n; start += size) {
    size = 1 + below(random, n - start);
    Request request = whole;
    request.beliefs = pool.part(start, size);
    request.k = std::min(k, size);
    const size_t before_it = found.size();
    found.resize(before_it + static_cast<size_t>(request.k));
    found_scores.resize(found.size());
    const Outcome outcome = any_settings(random).select(request, found.data() + before_it,
                                                        found_scores.data() + before_it);
    require(outcome.code == INSIGHT_DONE, "the selection from a part succeeds", case_seed);
  }
  const Result result{sizeof(Result), merged.data(), merged_scores.data(), nullptr, nullptr, 0};
  insight_merge_top_k(&whole, found.data(), found_scores.data(), int64_t(found.size()), &result);
  any_settings(random).select(whole, expected.data(), expected_scores.data());
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
  const char* const set = any_settings(random).place.instruction_set;
  for (int kind = 0; kind < 8; ++kind) {
    insight_score any = any_score(kind, random);
    if (kind < 4) any.parameters[1] = std::exp2(double(below(random, 40)) - 20.0);
    if (kind < 4) any.parameters[2] = double(below(random, 101)) / 100.0;
    const auto& kernels = cpu::instruction_set(set).kernels(kind);
    insight_kernels::Prepared score;
    kernels.prepare(any.parameters, key_of(any, pool.first), &score);
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
  const int64_t n = pool.beliefs().size;
  Request request = ask(any_score(kinds[below(random, 6)], random), pool.beliefs(), 0, random());
  Settings settings = any_settings(random);
  Index index(request, settings);
  if (below(random, 2)) {
    require(index.rebuild().code == INSIGHT_DONE, "the index is built", case_seed);
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
      require(outcome.code == INSIGHT_BAD_BELIEF && outcome.where == bad,
              "a rebuild names the first invalid belief", case_seed);
      std::copy(mended.begin(), mended.end(), pool.beta.begin());
    }
    const int64_t k = 1 + below(random, std::max<int64_t>(1, std::min<int64_t>(n, n / 400 + 1)));
    const std::vector<int64_t> excluded = any_list(random, below(random, 4), n);
    request.k = k;
    request.exclude = subset(INSIGHT_LIST, excluded);
    std::vector<int64_t> got(static_cast<size_t>(k), -7), expected(got);
    std::vector<float> scores(got.size());
    const Outcome outcome = index.select(k, true, request.exclude, got.data(), scores.data());
    const std::string message = insight_message();
    const Outcome full = settings.select(request, expected.data(), scores.data());
    require(outcome.code == INSIGHT_DONE || message == insight_message(),
            "the index says what the full pass says", case_seed);
    ++inputs;
    require(outcome.code == full.code && outcome.where == full.where && got == expected,
            "the index answers as the full pass", case_seed);
    std::vector<int64_t> changed = any_list(random, k, n);
    for (const int64_t i : changed) {
      if (i >= 0 && i < n) pool.alpha[static_cast<size_t>(i)] += static_cast<float>(below(random, 9));
    }
    while (index.update(changed.data(), int64_t(changed.size())).code != INSIGHT_DONE) {
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
  if (outcome.code != INSIGHT_DONE) return;
  for (size_t i = 0; i < indices.size(); ++i) {
    require(indices[i] >= pool.first && indices[i] < pool.first + pool.size,
            "every index is in the pool", case_seed);
    require(scores[i] == scores[i], "every score is a number", case_seed);
  }
}

// A few beliefs and places of lists that another thread changes between sound and unsound, most of
// them in the last strip, which has a way of its own. In a small pool a call sees them change most
// often, and is repeated more often.
void check_disturbed(uint64_t case_seed) {
  Random random(case_seed);
  const int64_t most[] = {8, 70, 400, 20000};
  const Case made = any_case(random, most[below(random, 4)]);
  const int64_t n = made.beliefs().size, listed_most = 64, turns = std::max<int64_t>(32, 6400 / n);
  SharedArray<float> alpha(made.alpha.size()), beta(made.beta.size());
  std::copy(made.alpha.begin(), made.alpha.end(), alpha.there);
  std::copy(made.beta.begin(), made.beta.end(), beta.there);
  SharedArray<int64_t> listed(static_cast<size_t>(1 + below(random, 2 * n)));
  for (size_t i = 0; i < listed.size; ++i) listed.there[i] = below(random, n);
  const int64_t listed_size = static_cast<int64_t>(listed.size);
  const Beliefs pool{alpha.here, beta.here, n, made.first};
  const insight_score score = any_score(static_cast<int>(below(random, 8)), random);
  const insight_score steady =
      any_score(static_cast<int>(below(random, 2) ? 0 : 5 + below(random, 3)), random);
  const int64_t tail = below(random, 4) ? (n - 1) / 64 * 64 : 0;
  std::vector<size_t> spots, places;
  for (int64_t i = 1 + below(random, 4); i > 0; --i) {
    spots.push_back(static_cast<size_t>(tail + below(random, n - tail)));
    places.push_back(static_cast<size_t>(below(random, std::min(listed_size, listed_most))));
  }
  const Disturber disturber([&, own = Random(case_seed)]() mutable {
    const float invalid = kInvalid[below(own, 5)], valid = any_belief(own, 3);
    const int64_t outside = any_outside(own, n), inside = below(own, n);
    beta.there[static_cast<size_t>(inside)] = valid;
    for (int turn = 0; turn < 20; ++turn) {
      for (const size_t spot : spots) alpha.there[spot] = invalid;
      for (const size_t place : places) listed.there[place] = outside;
      for (const size_t spot : spots) alpha.there[spot] = valid;
      for (const size_t place : places) listed.there[place] = inside;
    }
  });
  Settings settings = any_settings(random);
  Index index(ask(steady, pool), settings);
  std::vector<float> all(static_cast<size_t>(n));
  for (int64_t turn = 0; turn < turns; ++turn) {
    // The smallest room for survivors is sorted at each new one, too slow for many of a large pool.
    const int64_t k = 1 + below(random, turn % 2 && n <= 400 ? n : std::min<int64_t>(n, 1 + n / 500));
    std::vector<int64_t> got(static_cast<size_t>(k));
    std::vector<float> scores(got.size());
    Request request = ask(score, pool, k, random(), below(random, 2) == 0);
    if (below(random, 2)) request.candidates = {INSIGHT_LIST, listed.here, listed_size};
    if (below(random, 3) == 0) {
      request.exclude = {INSIGHT_LIST, listed.here, std::min<int64_t>(listed_size, 9)};
    }
    check_answer(settings.select(request, got.data(), scores.data()), got, scores, pool, case_seed);
    check_answer(index.select(k, request.sorted, {}, got.data(), scores.data()), got, scores, pool,
                 case_seed);
    index.update(listed.here, std::min(listed_size, listed_most));
    const bool is_scored = settings.score(request, all.data()).code == INSIGHT_DONE;
    for (const float value : all) {
      require(!is_scored || value == value, "what was checked is scored", case_seed);
    }
    inputs += 2;
  }
}

// An index that threads share, and a process that is forked meanwhile.
void check_shared_index(uint64_t case_seed) {
  Random random(case_seed);
  const Case pool = any_case(random, 5000);
  const int64_t n = pool.beliefs().size, k = 1 + below(random, std::min<int64_t>(n, 20));
  const Request request = ask(any_score(0, random), pool.beliefs(), k);
  Index index(request, Settings());
  std::vector<int64_t> expected(static_cast<size_t>(k));
  std::vector<float> scores(expected.size());
  Settings().select(request, expected.data(), scores.data());
  const auto use = [&](Random& own) {
    std::vector<int64_t> got(expected.size());
    std::vector<float> got_scores(expected.size());
    const int64_t changed = below(own, n);
    if (below(own, 4) == 0) index.rebuild();
    index.update(&changed, 1);
    index.select(k, true, {}, got.data(), got_scores.data());
    require(got == expected && insight_index_visited(index.index) <= n, "threads share an index", case_seed);
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
  const int64_t k = 1 + below(random, pool.beliefs().size);
  std::vector<int64_t> expected(static_cast<size_t>(k)), got(expected);
  std::vector<float> expected_scores(expected.size()), scores(expected.size());
  const Request request =
      ask(any_score(static_cast<int>(below(random, 8)), random), pool.beliefs(), k, random());
  Settings settings = any_settings(random);
  settings.select(request, expected.data(), expected_scores.data());
  std::fesetround(FE_UPWARD);
#ifdef __x86_64__
  const unsigned flush = 0x8040, before = __builtin_ia32_stmxcsr();
  __builtin_ia32_ldmxcsr(before | flush);
#endif
  const Outcome outcome = settings.select(request, got.data(), scores.data());
#ifdef __x86_64__
  const bool kept = (__builtin_ia32_stmxcsr() & flush) == flush;
  __builtin_ia32_ldmxcsr(before);
  require(kept, "the caller's arithmetic is left as it was", case_seed);
#endif
  require(std::fegetround() == FE_UPWARD, "the caller's rounding is left as it was", case_seed);
  std::fesetround(FE_TONEAREST);
  ++inputs;
  require(outcome.code == INSIGHT_DONE && got == expected && scores == expected_scores,
          "the caller's arithmetic plays no part", case_seed);
}

void check_draw(uint64_t case_seed) {
  Random random(case_seed);
  const int64_t size = below(random, 5000), count = below(random, size + 1);
  std::vector<int64_t> drawn(static_cast<size_t>(count));
  insight_draw_distinct(size, count, random(), random(), drawn.data());
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
  Settings settings;
  settings.place.threads = 2;
  const Request request = ask(any_score(6, random), {values, values, n, 0}, k, 0, false);
  const Outcome outcome = settings.select(request, indices.data(), scores.data());
  require(outcome.code == INSIGHT_DONE, "2^31 beliefs are ranged over", 0);
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
  if (case_seed % 4 == 0) check_disturbed(case_seed);
  if (case_seed % 32 == 0) check_shared_index(case_seed);
}

// A digest of every score's bits, one line for each: the same on every processor.
void print_bits() {
  constexpr int64_t kBeliefs = 4096;
  std::vector<float> alpha(kBeliefs), beta(kBeliefs), scores(kBeliefs);
  Random random(0);
  for (int64_t i = 0; i < kBeliefs; ++i) {
    alpha[static_cast<size_t>(i)] = static_cast<float>(1 + random() % 100000) * 0.001f;
    beta[static_cast<size_t>(i)] = static_cast<float>(1 + random() % 100000) * 0.001f;
  }
  for (int kind = 0; kind < INSIGHT_SCORE_KINDS; ++kind) {
    const Request request = ask(any_score(kind, random), {alpha.data(), beta.data(), kBeliefs, 0}, 0, 0, false);
    require(Settings().score(request, scores.data()).code == INSIGHT_DONE, "beliefs are scored", 0);
    uint64_t digest = 0;
    for (const float score : scores) digest = mix(digest ^ bit_cast<uint32_t>(score)) + kGoldenGamma;
    std::printf("score %d: %016llx\n", kind, static_cast<unsigned long long>(digest));
  }
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
  if (mode == "bits") {
    print_bits();
    return 0;
  }
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
