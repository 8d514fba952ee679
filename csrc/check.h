// What both back ends ask of their arguments before they read or write anything.
#pragma once

#include <limits>
#include <sstream>
#include <stdexcept>

#include "top_k.h"

namespace insight {

// An argument is outside its domain. The message says which, what was expected and what came.
struct ArgumentError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

template <class Limit, class Value>
void expect(bool holds, const char* name, const Limit& expected, const Value& got) {
  if (holds) return;
  std::ostringstream message;
  message << name << ": expected " << expected << ", got " << got;
  throw ArgumentError(message.str());
}

// Of an array that somebody reads or writes: there, and where an element may lie.
template <class Element>
void expect_array(const Element* array, const char* name) {
  expect(array != nullptr, name, "an array", "none");
  expect(reinterpret_cast<uintptr_t>(array) % alignof(Element) == 0, name,
         "memory aligned to its elements", static_cast<const void*>(array));
}

inline void expect_between(double value, const char* name, double low, double high) {
  if (value >= low && value <= high) return;
  std::ostringstream range;
  range << "a number in [" << low << ", " << high << "]";
  expect(false, name, range.str(), value);
}

inline void expect_rollouts(double value) {
  const bool whole = value >= 1 && value <= kMaxRollouts && value == static_cast<int>(value);
  static_assert(kMaxRollouts == 512, "the message below says so");
  expect(whole, "rollouts", "1 to 512", value);
}

inline void check_score(const AnyScore& score) {
  const double* const parameters = score.parameters;
  switch (score.kind) {
    case ScoreKind::kWeightedInformation:
    case ScoreKind::kWeightAlone:
    case ScoreKind::kInformationAlone:
    case ScoreKind::kDrawnWeightInformation:
      expect_rollouts(parameters[0]);
      expect_between(parameters[1], "eta", 0.0, 1e6);
      expect_between(parameters[2], "mu", 0.0, 1.0);
      return;
    case ScoreKind::kThompson:
    case ScoreKind::kExpectedDifficulty:
      expect_between(parameters[0], "target", 0.0, 1.0);
      return;
    case ScoreKind::kInverseEvidence:
      return;
    case ScoreKind::kMixedGroup:
      expect_rollouts(parameters[0]);
      return;
  }
  expect(false, "score", "a kind from 0 to 7", static_cast<int>(score.kind));
}

inline void check_beliefs(const Beliefs& beliefs) {
  expect(beliefs.size >= 0, "size", "0 or more beliefs", beliefs.size);
  const int64_t most = std::numeric_limits<int64_t>::max() - beliefs.size;
  expect(beliefs.first >= 0 && beliefs.first <= most, "first",
         "0 or more, with the pool's end below 2^63", beliefs.first);
  if (beliefs.size == 0) return;
  expect_array(beliefs.alpha, "alpha");
  expect_array(beliefs.beta, "beta");
}

inline void check_subset(const char* name, const int64_t* listed, int64_t size, const bool* mask) {
  expect(size >= 0, name, "0 or more indices", size);
  if (size > 0) expect_array(listed, name);
  expect(!(listed && mask), name, "a list or a mask", "both");
}

inline void check_eligible(const Eligible& eligible) {
  check_subset("candidates", eligible.candidates, eligible.candidates_size,
               eligible.candidate_mask);
  check_subset("exclude", eligible.excluded, eligible.excluded_size, eligible.exclusion_mask);
}

inline void check_request(const SelectionRequest& request, const Selection& selection) {
  expect(request.k >= 1, "k", "1 or more", request.k);
  expect_array(selection.indices, "indices");
  expect_array(selection.scores, "scores");
}

}  // namespace insight
