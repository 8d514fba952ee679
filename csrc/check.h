// What is asked of arguments before anything is read or written.
#pragma once

#include <algorithm>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>
#include <tuple>

#include "request.h"

namespace insight {

// An argument is outside its domain. The message says which, what was expected and what came.
struct ArgumentError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

// A device is missing, or a call to it failed. The message names the call.
struct DeviceError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Values that make a sentence, written only if somebody wants to read it: to write takes longer than to
// check. It refers to them, so it must not outlive the expression that it stands in.
template <class... Parts>
class Text {
 public:
  explicit Text(const Parts&... parts) : parts_(parts...) {}
  operator std::string() const {
    std::ostringstream written;
    written << *this;
    return written.str();
  }
  friend std::ostream& operator<<(std::ostream& stream, const Text& text) {
    std::apply([&](const auto&... parts) { static_cast<void>((stream << ... << parts)); }, text.parts_);
    return stream;
  }

 private:
  std::tuple<const Parts&...> parts_;
};

template <class... Parts>
Text<Parts...> text(const Parts&... parts) {
  return Text<Parts...>(parts...);
}

template <class Limit, class Value>
void expect(bool holds, const char* name, const Limit& expected, const Value& got) {
  if (!holds) throw ArgumentError(text(name, ": expected ", expected, ", got ", got));
}

// Of an array that somebody reads or writes: there, and where an element may lie.
template <class Element>
void expect_array(const Element* array, const char* name) {
  expect(array != nullptr, name, "an array", "none");
  expect(reinterpret_cast<uintptr_t>(array) % alignof(Element) == 0, name,
         "memory aligned to its elements", static_cast<const void*>(array));
}

// Of a struct of insight.h: there, and of the layout that this library knows.
template <class Struct>
void expect_struct(const Struct* given, const char* name) {
  expect(given != nullptr, name, "a struct", "none");
  expect(given->bytes == sizeof(Struct), name,
         text("`bytes` to be the ", sizeof(Struct), " of this library's insight.h"), given->bytes);
}

inline void expect_between(double value, const char* name, double low, double high) {
  if (value >= low && value <= high) return;
  expect(false, name, text("a number in [", low, ", ", high, "]"), value);
}

inline void expect_rollouts(double value) {
  const bool whole = value >= 1 && value <= kMaxRollouts && value == static_cast<int>(value);
  static_assert(kMaxRollouts == 512, "the message below says so");
  expect(whole, "rollouts", "1 to 512", value);
}

inline void check_score(const insight_score& score) {
  static_assert(INSIGHT_SCORE_KINDS == 8, "the message below says so");
  expect(score.kind >= 0 && score.kind < INSIGHT_SCORE_KINDS, "score", "a kind from 0 to 7",
         score.kind);
  const int64_t count = parameter_count(score.kind);
  expect(score.parameter_count == count, "parameters", text(count, " numbers for this score"),
         score.parameter_count);
  const double* const parameters = score.parameters;
  if (score.kind == INSIGHT_THOMPSON || score.kind == INSIGHT_EXPECTED_DIFFICULTY) {
    expect_between(parameters[0], "target", 0.0, 1.0);
  } else if (count > 0) {
    expect_rollouts(parameters[0]);
  }
  if (count < 3) return;
  expect_between(parameters[1], "eta", 0.0, 1e6);
  expect_between(parameters[2], "mu", 0.0, 1.0);
}

inline void check_beliefs(const Beliefs& beliefs) {
  expect(beliefs.size >= 0, "size", "0 or more beliefs", beliefs.size);
  const int64_t most = std::numeric_limits<int64_t>::max() - beliefs.size;
  expect(beliefs.first >= 0 && beliefs.first <= most, "first",
         "an int from 0 on, with the pool's end below 2^63", beliefs.first);
  if (beliefs.size == 0) return;
  expect_array(beliefs.alpha, "alpha");
  expect_array(beliefs.beta, "beta");
}

inline void check_subset(const char* name, const insight_subset& subset, int64_t beliefs) {
  expect(subset.form >= INSIGHT_ABSENT && subset.form <= INSIGHT_MASK, name,
         "nothing, a list or a mask", subset.form);
  if (subset.form == INSIGHT_ABSENT) return;
  expect(subset.size >= 0, name, "0 or more indices", subset.size);
  if (subset.form == INSIGHT_MASK) {
    expect(subset.size == beliefs, name,
           text("a mask with one bool for each of ", beliefs, " prompts"), subset.size);
  }
  if (subset.size == 0) return;
  subset.form == INSIGHT_LIST ? expect_array(list_of(subset), name)
                              : expect_array(mask_of(subset), name);
}

inline void check_selected(const Result& result) {
  expect_array(result.indices, "indices");
  expect_array(result.scores, "scores");
}

inline void check_selection(const Request& request, const Result& result) {
  const int64_t n = request.beliefs.size, k = request.k;
  check_score(request.score);
  check_beliefs(request.beliefs);
  expect(k >= 1 && k <= n, "k", text("1 to the pool's ", n, " prompts"), k);
  check_subset("candidates", request.candidates, n);
  check_subset("exclude", request.exclude, n);
  expect(request.candidates.form != INSIGHT_LIST || request.candidates.size > 0, "candidates",
         text("at least the ", k, " prompts to select"), "none");
  check_selected(result);
}

}  // namespace insight
