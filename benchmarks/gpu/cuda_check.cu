// Asks the CPU's and the GPU's back end the same by csrc/insight.h, and compares the bits of what they
// say: every score, way of the kernel, restriction, unaligned start and failure, and calls captured in a
// graph. Without Python, so that compute-sanitizer sees this project's kernels alone:
//   cuda_check [SIZE [EVERY]]     SIZE of the large pools, 1,000,003 if not said, none up to 5,003;
//                                 asks one question in EVERY, each if not said. Sanitizers are slow.
// A line for each group of questions. A question that does not end is reported after 20 seconds.
// tests/csrc/test_cuda_emulation.py runs this program on an emulated GPU.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "device.h"

namespace {

using Random = std::mt19937_64;

constexpr int64_t kFirst = 98765432101;  // of the pool, itself a part of a larger one
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Subset {
  int64_t form = INSIGHT_ABSENT;
  std::vector<int64_t> list;
  std::vector<uint8_t> mask;

  const void* data() const {
    return form == INSIGHT_LIST ? static_cast<const void*>(list.data()) : mask.data();
  }
  size_t size() const { return form == INSIGHT_LIST ? list.size() : mask.size(); }
  size_t bytes() const { return form == INSIGHT_LIST ? 8 * list.size() : mask.size(); }
};

// What both are asked. The tuning is the GPU's.
struct Question {
  insight_score score;
  std::vector<float> alpha, beta;
  size_t alpha_offset = 0, beta_offset = 0;  // floats before them, behind an aligned start
  Subset candidates, exclude;
  int64_t k = 0;  // 0: all scores
  bool sorted = true;
  std::vector<insight_setting> tuning;
};

struct Answer {
  insight_outcome outcome;
  std::string message;
  std::vector<int64_t> indices;
  std::vector<float> scores;
};

// A question in the memory of a device, and room for its answer.
class Asked {
 public:
  Asked(const Question& question, bool on_gpu)
      : beliefs_{question.alpha.size()},
        alpha_(on_gpu, 4 * (beliefs_ + question.alpha_offset)),
        beta_(on_gpu, 4 * (beliefs_ + question.beta_offset)),
        candidates_(on_gpu, question.candidates.bytes()),
        exclude_(on_gpu, question.exclude.bytes()),
        indices_(on_gpu, 8 * static_cast<size_t>(question.k)),
        scores_(on_gpu, 4 * (question.k ? static_cast<size_t>(question.k) : beliefs_)),
        outcome_(on_gpu, sizeof(insight_outcome)),
        offset_(4 * question.alpha_offset) {
    alpha_.write(question.alpha.data(), 4 * beliefs_, offset_);
    beta_.write(question.beta.data(), 4 * beliefs_, 4 * question.beta_offset);
    candidates_.write(question.candidates.data(), question.candidates.bytes());
    exclude_.write(question.exclude.data(), question.exclude.bytes());
    request_ = {sizeof(request_),
                question.score,
                {alpha_.at<float>(offset_), beta_.at<float>(4 * question.beta_offset),
                 static_cast<int64_t>(beliefs_), kFirst},
                {question.candidates.form, candidates_.at<void>(),
                 static_cast<int64_t>(question.candidates.size())},
                {question.exclude.form, exclude_.at<void>(),
                 static_cast<int64_t>(question.exclude.size())},
                question.k,
                11,
                question.sorted};
    place_ = place_on(on_gpu ? "cuda" : "cpu");
    if (on_gpu) {
      place_.tuning = question.tuning.data();
      place_.tuning_size = static_cast<int64_t>(question.tuning.size());
    }
    int64_t bytes = 0;
    insight_workspace_bytes(&request_, &place_, &bytes);
    workspace_ = std::make_unique<Memory>(on_gpu, static_cast<size_t>(bytes));
    result_ = {sizeof(result_),    indices_.at<int64_t>(), scores_.at<float>(), nullptr,
               workspace_->at<void>(), bytes};
  }

  insight_outcome call() {
    return request_.k ? insight_select_top_k(&request_, &place_, &result_)
                      : insight_score_all(&request_, &place_, &result_);
  }

  Answer answer() {
    Answer answer{call(), insight_message(), {}, {}};
    if (answer.outcome.code == INSIGHT_DONE) answer.message = "";
    if (answer.outcome.code == INSIGHT_DONE) read(answer);
    return answer;
  }

  // What is in the result's memory.
  void read(Answer& answer) const {
    answer.indices.resize(indices_.bytes() / 8);
    answer.scores.resize(scores_.bytes() / 4);
    indices_.read(answer.indices.data(), indices_.bytes());
    scores_.read(answer.scores.data(), scores_.bytes());
  }

  // From now on calls are on this stream, which is not waited for, and their outcome is left in memory.
  void capture_on(cudaStream_t stream) {
    place_.stream = stream;
    result_.outcome = outcome_.at<insight_outcome>();
  }
  insight_outcome left_outcome() const {
    insight_outcome outcome;
    outcome_.read(&outcome, sizeof(outcome));
    return outcome;
  }
  void write_alpha(const std::vector<float>& alpha) {
    alpha_.write(alpha.data(), 4 * beliefs_, offset_);
  }

 private:
  size_t beliefs_;
  Memory alpha_, beta_, candidates_, exclude_, indices_, scores_, outcome_;
  size_t offset_;
  std::unique_ptr<Memory> workspace_;
  insight_request request_;
  insight_place place_;
  insight_result result_;
};

// The bits, since NaN equals nothing.
template <class T>
bool same(const std::vector<T>& x, const std::vector<T>& y) {
  return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(T)) == 0;
}

bool same(const Answer& x, const Answer& y) {
  return x.outcome.code == y.outcome.code && x.outcome.where == y.outcome.where &&
         x.message == y.message && same(x.indices, y.indices) && same(x.scores, y.scores);
}

// What is asked just now, and what was found.
const char* group = "";
long every = 1, thought_of = 0, questions = 0, different = 0, all_different = 0;

void describe(const Question& question) {
  std::printf("  score %d, %zu beliefs, k = %lld, %s, offsets %zu and %zu, candidates %lld, exclude %lld",
              static_cast<int>(question.score.kind), question.alpha.size(),
              static_cast<long long>(question.k), question.sorted ? "sorted" : "by index",
              question.alpha_offset, question.beta_offset,
              static_cast<long long>(question.candidates.form),
              static_cast<long long>(question.exclude.form));
  for (const insight_setting& number : question.tuning) {
    std::printf(", %s %lld", number.name, static_cast<long long>(number.value));
  }
  std::printf("\n");
}

void report_a_question_that_does_not_end(int) {
  std::printf("DOES NOT END: %s, question %ld\n", group, questions + 1);
  std::fflush(stdout);
  _exit(1);
}

void note(bool equal, const Question& question, const char* what) {
  ++questions;
  if (equal) return;
  if (++different <= 3) {
    std::printf("DIFFERS: %s: %s\n", group, what);
    describe(question);
  }
}

// `times` on the GPU: what depends on which thread is faster shows in one of many.
void ask_both(const Question& question, long times = 1) {
  if (thought_of++ % every) return;
  times = (times + every - 1) / every;
  alarm(20);
  const Answer expected = Asked(question, false).answer();
  for (long i = 0; i < times; ++i) {
    const Answer got = Asked(question, true).answer();
    const bool equal = same(got, expected);
    note(equal, question, got.message.empty() ? "the answer" : got.message.c_str());
    if (!equal) break;
  }
  alarm(0);
}

template <class Ask>
void check(const char* name, const Ask& ask) {
  group = name;
  questions = different = 0;
  ask();
  all_different += different;
  std::printf("%-8s %6ld questions: %s\n", different ? "DIFFERS" : "same", questions, group);
  std::fflush(stdout);
}

insight_score score_of(int kind) {
  insight_score score{kind, 0, {}, 5, 3};
  if (kind == INSIGHT_INVERSE_EVIDENCE) return score;
  const bool has_target = kind == INSIGHT_THOMPSON || kind == INSIGHT_EXPECTED_DIFFICULTY;
  score.parameter_count = has_target || kind == INSIGHT_MIXED_GROUP ? 1 : 3;
  score.parameters[0] = has_target ? 0.5 : 8;
  if (score.parameter_count == 3) score.parameters[1] = 3, score.parameters[2] = 0.3;
  return score;
}

enum PoolKind { kSettled, kHalfUnseen, kUnseen, kWide, kPoolKinds };

// settled: 0 to 24 visits of 8 rollouts. wide: 2^-125 to 2^125, denormal ones apart.
Question any_question(int kind, PoolKind pool, int64_t size, int64_t k) {
  Question question;
  question.score = score_of(kind);
  question.k = k;
  Random random(static_cast<uint64_t>(size) * kPoolKinds + pool);
  const auto below = [&](uint64_t limit) { return static_cast<float>(random() % limit); };
  for (int64_t i = 0; i < size; ++i) {
    const bool seen = pool == kSettled || (pool == kHalfUnseen && i % 2);
    const float rollouts = seen ? 8 * below(25) : 0;
    const float solved = seen ? below(static_cast<uint64_t>(rollouts) + 1) : 0;
    question.alpha.push_back(pool == kWide ? std::exp2(below(2000) / 8 - 125) : 1 + solved);
    question.beta.push_back(pool == kWide ? std::exp2(below(2000) / 8 - 125) : 1 + rollouts - solved);
  }
  return question;
}

// Ways of the kernel: from a sample, which is too severe, or too lenient for the room there is.
const std::vector<insight_setting> kWays[] = {
    {},
    {{"unsampled", 0}},
    {{"unsampled", 0}, {"sample_rank", 1}},
    {{"unsampled", 0}, {"sample_rank", 2000}, {"capacity", 1}},
};

Subset any_subset(int64_t form, int64_t size, uint64_t seed) {
  Random random(seed);
  Subset subset;
  subset.form = form;
  for (int64_t i = 0; i < size; ++i) {
    if (form == INSIGHT_LIST && i % 2) subset.list.push_back(static_cast<int64_t>(random() % size));
    if (form == INSIGHT_MASK) subset.mask.push_back(random() % 3 != 0);
  }
  return subset;
}

void check_scores(int64_t size) {
  for (int kind = 0; kind < INSIGHT_SCORE_KINDS; ++kind) {
    for (const PoolKind pool : {kSettled, kWide}) {
      Question question = any_question(kind, pool, size, 0);
      ask_both(question);
      question.beta[static_cast<size_t>(size / 2)] = kNaN;
      ask_both(question);
    }
  }
}

void check_selections(int64_t size) {
  for (int kind = 0; kind < INSIGHT_SCORE_KINDS; ++kind) {
    for (const PoolKind pool : {kSettled, kHalfUnseen, kUnseen, kWide}) {
      Question question = any_question(kind, pool, size, 0);
      for (const auto& way : kWays) {
        question.tuning = way;
        for (const int64_t k : {int64_t{1}, std::min<int64_t>(256, size), size / 3 + 1}) {
          question.k = k;
          question.sorted = k != 256;
          ask_both(question);
        }
      }
    }
  }
}

void check_large_selections(int64_t size) {
  for (const PoolKind pool : {kSettled, kHalfUnseen, kUnseen}) {
    Question question = any_question(INSIGHT_WEIGHTED_INFORMATION, pool, size, 0);
    for (const int64_t k : {256, 4096, 65536}) {
      question.k = std::min(k, size / 3);
      question.sorted = true;
      ask_both(question);
      question.sorted = false;
      ask_both(question);
    }
  }
}

void check_restrictions(int64_t size) {
  Question question = any_question(INSIGHT_WEIGHTED_INFORMATION, kSettled, size, size / 20 + 1);
  for (const auto& way : kWays) {
    question.tuning = way;
    for (int64_t form = INSIGHT_ABSENT; form <= INSIGHT_MASK; ++form) {
      for (int64_t exclude_form = INSIGHT_ABSENT; exclude_form <= INSIGHT_MASK; ++exclude_form) {
        question.candidates = any_subset(form, size, 1);
        question.exclude = any_subset(exclude_form, size, 2);
        ask_both(question);
      }
    }
  }
}

void check_unaligned_starts(int64_t size) {
  for (const PoolKind pool : {kSettled, kUnseen}) {
    Question question = any_question(INSIGHT_WEIGHTED_INFORMATION, pool, size, 100);
    question.tuning = {{"unsampled", 0}};
    for (question.alpha_offset = 0; question.alpha_offset < 4; ++question.alpha_offset) {
      for (question.beta_offset = 0; question.beta_offset < 4; ++question.beta_offset) {
        ask_both(question);
      }
    }
  }
}

void check_failures(int64_t size) {
  const int64_t inside = size / 3, outside[] = {-1, size, std::numeric_limits<int64_t>::min(),
                                                std::numeric_limits<int64_t>::max()};
  const Question sound = any_question(INSIGHT_WEIGHTED_INFORMATION, kSettled, size, 10);
  const auto listed = [](std::vector<int64_t> list) { return Subset{INSIGHT_LIST, list, {}}; };
  for (const auto& way : kWays) {
    Question question = sound;
    question.tuning = way;
    for (const float bad : {kNaN, 0.0f, -1.0f, HUGE_VALF, -HUGE_VALF}) {
      question.alpha = sound.alpha;
      for (int64_t i = inside; i < size; i += 7) question.alpha[static_cast<size_t>(i)] = bad;
      question.exclude = {};
      ask_both(question, 5);
      question.exclude = listed({1, 2, inside});
      ask_both(question, 5);
      question.exclude = any_subset(INSIGHT_MASK, size, 3);
      ask_both(question, 5);
    }
    question = sound;
    question.tuning = way;
    for (const int64_t index : outside) {
      question.candidates = listed({3, inside, index, index});
      ask_both(question, 5);
      question.exclude = listed({index, 3});
      ask_both(question, 5);
      question.candidates = {};
      ask_both(question, 5);
      question.exclude = {};
    }
    question.candidates = listed({4, 4, 8, 9});
    ask_both(question, 5);
    question.k = 3;
    question.exclude = listed({4});
    ask_both(question, 5);
    question.candidates = {INSIGHT_MASK, {}, std::vector<uint8_t>(static_cast<size_t>(size), 0)};
    ask_both(question, 5);
  }
}

void check_refusals(int64_t size) {
  const Question sound = any_question(INSIGHT_WEIGHTED_INFORMATION, kSettled, size, 10);
  Question question = sound;
  question.k = size + 1;
  ask_both(question);
  question = sound;
  question.score.kind = INSIGHT_SCORE_KINDS;
  ask_both(question);
  question = sound;
  question.score.parameters[0] = 0;
  ask_both(question);
  question = sound;
  question.candidates = {INSIGHT_MASK, {}, std::vector<uint8_t>(1, 1)};
  ask_both(question);
}

// A graph's calls read what is in memory when it is launched, and leave their outcome there.
void check_captured_calls(int64_t size) {
  for (const int64_t k : {int64_t{0}, int64_t{100}}) {
    for (const auto& way : kWays) {
      if (thought_of++ % every) continue;
      Question question = any_question(INSIGHT_WEIGHTED_INFORMATION, kSettled, size, k);
      question.tuning = way;
      Asked asked(question, true);
      alarm(20);
      asked.answer();  // loads the kernels, which a capture must not
      cudaStream_t stream;
      cudaGraph_t graph;
      cudaGraphExec_t instance;
      CALL(cudaStreamCreate, &stream);
      asked.capture_on(stream);
      CALL(cudaStreamBeginCapture, stream, cudaStreamCaptureModeGlobal);
      note(asked.call().code == INSIGHT_DONE, question, insight_message());
      CALL(cudaStreamEndCapture, stream, &graph);
      CALL(cudaGraphInstantiate, &instance, graph, 0);
      const std::vector<float> sound = question.alpha;
      std::vector<float> invalid = sound, other = sound;
      invalid[static_cast<size_t>(size / 2)] = kNaN;
      std::reverse(other.begin(), other.end());
      for (const auto& alpha : {sound, invalid, other, invalid, sound}) {
        question.alpha = alpha;
        asked.write_alpha(alpha);
        CALL(cudaGraphLaunch, instance, stream);
        CALL(cudaStreamSynchronize, stream);
        Answer expected = Asked(question, false).answer(), got{asked.left_outcome(), "", {}, {}};
        asked.read(got);
        if (expected.outcome.code != INSIGHT_DONE && k > 0) {
          expected.indices.assign(static_cast<size_t>(k), -1);
          expected.scores.assign(static_cast<size_t>(k), kNaN);
        } else if (expected.outcome.code != INSIGHT_DONE) {
          expected.scores = got.scores;  // unspecified
        }
        expected.message = "";
        note(same(got, expected), question, "a captured call");
      }
      CALL(cudaGraphExecDestroy, instance);
      CALL(cudaGraphDestroy, graph);
      CALL(cudaStreamDestroy, stream);
      alarm(0);
    }
  }
}

// What one thread does before another looks, ten thousand times.
void check_races(int64_t size, long times) {
  Question question = any_question(INSIGHT_WEIGHTED_INFORMATION, kSettled, size, 10);
  ask_both(question, times);
  question.alpha[7] = kNaN;
  question.exclude = {INSIGHT_LIST, {1, 2, 3}, {}};
  ask_both(question, times);
}

}  // namespace

int main(int count, char** words) {
  const int64_t large = count > 1 ? std::atoll(words[1]) : 1000003, small = 5003;
  const long times = large > small ? 5000 : 50;
  every = count > 2 ? std::max(1L, std::atol(words[2])) : 1;
  std::signal(SIGALRM, report_a_question_that_does_not_end);
  const insight_place place = place_on("cuda");
  char name[256] = "";
  if (insight_device_name(&place, name, sizeof(name)).code != INSIGHT_DONE) {
    std::printf("%s\n", insight_message());
    return 2;
  }
  std::printf("%s\n", name);
  std::fflush(stdout);
  check("failures", [&] { check_failures(small); });
  check("scores", [&] { check_scores(small); });
  check("restrictions", [&] { check_restrictions(small); });
  check("unaligned starts", [&] { check_unaligned_starts(small); });
  check("captured calls", [&] { check_captured_calls(small); });
  check("refusals", [&] { check_refusals(small); });
  check("selections", [&] { check_selections(small); });
  check("races", [&] { check_races(small, times); });
  if (large > small) {
    check("selections from a large pool", [&] { check_large_selections(large); });
    check("scores of a large pool", [&] { check_scores(large); });
  }
  std::printf(all_different ? "SOME DIFFER\n" : "all the same\n");
  return all_different ? 1 : 0;
}
