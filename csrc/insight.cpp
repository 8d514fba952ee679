// The functions of insight.h that every back end answers.
#include "insight.h"

#include <cstring>

#include "entry.h"

// Names the back ends that were built: BACK_END(cpu) BACK_END(cuda).
#define BACK_END(name) namespace insight::name { extern const BackEnd back_end; }
INSIGHT_BACK_ENDS
#undef BACK_END

namespace insight {
namespace {

#define BACK_END(name) &name::back_end,
const BackEnd* const kBackEnds[] = {INSIGHT_BACK_ENDS};
#undef BACK_END

thread_local char latest_message[1024];

const BackEnd& back_end_of(const Place& place) {
  const char* const name = place.device ? place.device : "cpu";
  std::string names;
  for (const BackEnd* back_end : kBackEnds) {
    if (std::strcmp(name, back_end->name) == 0) return *back_end;
    names += std::string(names.empty() ? "" : ", ") + back_end->name;
  }
  throw DeviceError(text("device: expected one that this library was built for (", names, "), got ",
                         name, "; move the memory there, or build the library for it"));
}

template <class T>
T read(const BackEnd& back_end, const Place& place, const T* from) {
  T value;
  back_end.read(place, from, sizeof(T), &value);
  return value;
}

}  // namespace

Outcome told(const Outcome& outcome, const char* message) {
  std::strncpy(latest_message, message, sizeof(latest_message) - 1);
  return outcome;
}

Outcome explained(const Outcome& outcome, const Request& request, const BackEnd& back_end,
                  const Place& place) {
  const int64_t where = outcome.where;
  const auto outside = [&](const char* name, const insight_subset& subset) -> std::string {
    return text(name, ": expected indices in [0, ", request.beliefs.size, "), got ",
                read(back_end, place, list_of(subset) + where), " at position ", where);
  };
  std::string message;
  switch (outcome.code) {
    case INSIGHT_DONE:
      return outcome;
    case INSIGHT_BAD_BELIEF:
      message = text("beliefs: expected finite positive alpha and beta, got alpha=",
                     read(back_end, place, request.beliefs.alpha + where),
                     ", beta=", read(back_end, place, request.beliefs.beta + where), " at index ",
                     request.beliefs.first + where);
      break;
    case INSIGHT_BAD_CANDIDATE:
      message = outside("candidates", request.candidates);
      break;
    case INSIGHT_BAD_EXCLUSION:
      message = outside("exclude", request.exclude);
      break;
    case INSIGHT_TOO_FEW_ELIGIBLE:
      message = text("k: expected at most the ", where, " eligible prompts, got ", request.k);
      break;
    case INSIGHT_BAD_SCORE:
      message = text("scores: expected numbers, got NaN at position ", where);
      break;
    case INSIGHT_CHANGED:
      message = "beliefs: expected them to stay as they are while a selection runs, but they changed; "
                "let it end first, and select again";
      break;
    case INSIGHT_STOPPED:
      message = "the call: ended before its time, as its caller wished; nothing was returned";
  }
  return told(outcome, message.c_str());
}

}  // namespace insight

using namespace insight;

const char* insight_message(void) { return latest_message; }

insight_outcome insight_score_all(const insight_request* request, const insight_place* place,
                                  const insight_result* result) {
  return guarded([&] {
    expect_struct(request, "request");
    expect_struct(place, "place");
    expect_struct(result, "result");
    check_score(request->score);
    check_beliefs(request->beliefs);
    if (request->beliefs.size > 0) expect_array(result->scores, "scores");
    const BackEnd& back_end = back_end_of(*place);
    return explained(back_end.score(*request, *place, *result), *request, back_end, *place);
  });
}

insight_outcome insight_select_top_k(const insight_request* request, const insight_place* place,
                                     const insight_result* result) {
  return guarded([&] {
    expect_struct(request, "request");
    expect_struct(place, "place");
    expect_struct(result, "result");
    check_selection(*request, *result);
    const BackEnd& back_end = back_end_of(*place);
    return explained(back_end.select_top_k(*request, *place, *result), *request, back_end, *place);
  });
}

insight_outcome insight_workspace_bytes(const insight_request* request, const insight_place* place,
                                        int64_t* bytes) {
  return guarded([&]() -> Outcome {
    expect_struct(request, "request");
    expect_struct(place, "place");
    expect_array(bytes, "bytes");
    expect(request->beliefs.size >= 0, "size", "0 or more beliefs", request->beliefs.size);
    expect(request->k >= 0, "k", "0 or more", request->k);
    *bytes = back_end_of(*place).workspace_bytes(*request, *place);
    return {};
  });
}

insight_outcome insight_device_name(const insight_place* place, char* name, int64_t size) {
  return guarded([&]() -> Outcome {
    expect_struct(place, "place");
    expect(size >= 1, "size", "1 or more", size);
    expect_array(name, "name");
    const std::string found = back_end_of(*place).device_name(*place);
    name[found.copy(name, static_cast<size_t>(size) - 1)] = '\0';
    return {};
  });
}

const char* insight_back_end(int64_t number) {
  const bool known = number >= 0 && number < static_cast<int64_t>(std::size(kBackEnds));
  return known ? kBackEnds[number]->name : nullptr;
}
