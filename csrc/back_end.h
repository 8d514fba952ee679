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

// One of a back end's numbers that place.tuning may set.
template <class Tuning>
struct Setting {
  const char* name;
  int64_t Tuning::* number;
};

template <class Tuning, size_t kCount>
Tuning tuned(const Place& place, const Setting<Tuning> (&settings)[kCount]) {
  Tuning tuning;
  expect(place.tuning_size == 0 || place.tuning, "tuning", "an array", "none");
  for (int64_t i = 0; i < place.tuning_size; ++i) {
    const insight_setting& given = place.tuning[i];
    const std::string name = given.name ? given.name : "none";
    bool known = false;
    for (const Setting<Tuning>& setting : settings) {
      if (name != setting.name) continue;
      tuning.*setting.number = given.value;
      known = true;
    }
    expect(known, "tuning", text("a number that this back end has"), name);
  }
  return tuning;
}

}  // namespace insight
