// The CPU's place in the table of back ends, and the functions of insight.h that it alone answers.
#include "../back_end.h"

#include <cstring>
#include <thread>

#include "../entry.h"
#include "cpu.h"
#include "draw.h"
#include "pool_index.h"

namespace insight::cpu {
namespace {

int64_t thread_count(int64_t asked) {
  expect(asked >= 0, "threads", "0 or more", asked);
  return asked > 0 ? asked : std::max(1u, std::thread::hardware_concurrency());
}

Outcome left(const Outcome& outcome, const Result& result) {
  if (result.outcome) *result.outcome = outcome;
  return outcome;
}

}  // namespace

Settings::Settings(const Place& place)
    : threads(thread_count(place.threads)),
      instruction_set(cpu::instruction_set(place.instruction_set)),
      tuning(tuned<Tuning>(place)),
      is_stopped(place.is_stopped) {}

const BackEnd back_end{
    "cpu",
    [](const Request&, const Place&) { return int64_t{0}; },
    [](const Request& request, const Place& place, const Result& result) {
      return left(score(request, Settings(place), result.scores), result);
    },
    [](const Request& request, const Place& place, const Result& result) {
      return left(select_top_k(request, Settings(place), result), result);
    },
    [](const Place&, const void* from, size_t bytes, void* to) { std::memcpy(to, from, bytes); },
    [](const Place& place) { return std::string(Settings(place).instruction_set.name); },
};

}  // namespace insight::cpu

using namespace insight;

// What the index was made for, and the index.
struct insight_index {
  insight_request request;
  cpu::PoolIndex index;
};

namespace {

Outcome explained_here(const Outcome& outcome, const Request& request) {
  return explained(outcome, request, cpu::back_end, {});
}

}  // namespace

insight_outcome insight_merge_top_k(const insight_request* request, const int64_t* indices,
                                    const float* scores, int64_t count,
                                    const insight_result* result) {
  return guarded([&] {
    expect_struct(request, "request");
    expect_struct(result, "result");
    expect(request->k >= 1, "k", "1 or more", request->k);
    expect(count >= 0, "count", "0 or more", count);
    if (count > 0) expect_array(indices, "indices of the parts");
    if (count > 0) expect_array(scores, "scores of the parts");
    if (request->k > count) return explained_here({INSIGHT_TOO_FEW_ELIGIBLE, count}, *request);
    check_selected(*result);
    return explained_here(cpu::merge_top_k(*request, indices, scores, count, *result), *request);
  });
}

insight_outcome insight_draw_distinct(int64_t size, int64_t count, uint64_t seed, uint64_t draw,
                                      int64_t* drawn) {
  return guarded([&]() -> Outcome {
    constexpr int64_t kMost = int64_t{1} << 48;
    expect(size >= 0, "size", "0 or more", size);
    expect(count >= 0 && count <= size, "count", text("0 to the ", size, " there are"), count);
    expect(count <= kMost, "count", "at most 2^48", count);
    if (count > 0) expect_array(drawn, "drawn");
    cpu::draw_distinct(size, count, seed, draw, drawn);
    return {};
  });
}

insight_outcome insight_index_new(const insight_request* request, const insight_place* place,
                                  insight_index** index) {
  return guarded([&]() -> Outcome {
    expect_struct(request, "request");
    expect_struct(place, "place");
    expect_array(index, "index");
    check_score(request->score);
    check_beliefs(request->beliefs);
    cpu::Settings settings(*place);
    // A fork waits for an index's call, so that must not wait for anything that forks.
    settings.is_stopped = nullptr;
    *index = new insight_index{*request, {*request, settings}};
    return {};
  });
}

void insight_index_free(insight_index* index) { delete index; }

insight_outcome insight_index_rebuild(insight_index* index) {
  return guarded([&] {
    expect_array(index, "index");
    return explained_here(index->index.rebuild(), index->request);
  });
}

insight_outcome insight_index_update(insight_index* index, const insight_subset* changed) {
  return guarded([&] {
    expect_array(index, "index");
    expect_array(changed, "indices");
    expect(changed->form == INSIGHT_LIST, "indices", "a list", changed->form);
    check_subset("indices", *changed, index->request.beliefs.size);
    Request request = index->request;
    request.candidates = *changed;
    return explained_here(index->index.update(list_of(*changed), changed->size), request);
  });
}

insight_outcome insight_index_select(insight_index* index, int64_t k, bool sorted,
                                     const insight_subset* exclude, const insight_result* result) {
  return guarded([&] {
    expect_array(index, "index");
    expect_array(exclude, "exclude");
    expect_struct(result, "result");
    expect(exclude->form != INSIGHT_MASK, "exclude", "a list or nothing", "a mask");
    Request request = index->request;
    request.k = k;
    request.sorted = sorted;
    request.candidates = {};
    request.exclude = *exclude;
    check_selection(request, *result);
    return explained_here(index->index.select(request, *result), request);
  });
}

int64_t insight_index_visited(const insight_index* index) {
  return index ? index->index.visited() : 0;
}

const char* insight_instruction_set(int64_t number) {
  for (const cpu::InstructionSet& set : cpu::kInstructionSets) {
    if (set.runs_here() && number-- == 0) return set.name;
  }
  return nullptr;
}
