// What a back end offers. Each is a folder of csrc with a `back_end` of this type and a CMakeLists.txt
// that adds it to INSIGHT_BACK_ENDS; nothing else names it.
#pragma once

#include <string>

#include "check.h"

namespace insight {

using Place = insight_place;

// All arguments are checked, as far as insight.h describes them. A back end checks what only it
// knows: its device, its tuning, its workspace.
struct BackEnd {
  const char* name;
  int64_t (*workspace_bytes)(const Request&, const Place&);
  Outcome (*score)(const Request&, const Place&, const Result&);
  Outcome (*select_top_k)(const Request&, const Place&, const Result&);
  // To the host, after all that was begun before.
  void (*read)(const Place&, const void* from, size_t bytes, void* to);
  std::string (*device_name)(const Place&);
};

// A back end's numbers, those apart that the place sets.
template <class Tuning>
Tuning tuned(const Place& place) {
  Tuning tuning;
  expect(place.tuning_size == 0 || place.tuning, "tuning", "an array", "none");
  for (int64_t i = 0; i < place.tuning_size; ++i) {
    const std::string name = place.tuning[i].name ? place.tuning[i].name : "none";
    int64_t* const number = tuning.named(name);
    expect(number, "tuning", "numbers of this back end", name);
    *number = place.tuning[i].value;
  }
  return tuning;
}

}  // namespace insight
