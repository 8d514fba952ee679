// insight.h for Python: addresses in, exceptions of insight_ext.errors out.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "insight.h"

namespace py = pybind11;
using namespace pybind11::literals;

namespace {

template <class T>
T* at(uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

// Kind, parameters, seed and draw.
using Score = std::tuple<int64_t, std::vector<double>, uint64_t, uint64_t>;
// Addresses of alpha and beta, size and first.
using Beliefs = std::tuple<uintptr_t, uintptr_t, int64_t, int64_t>;
// Address, elements and whether it is a mask.
using Subset = std::optional<std::tuple<uintptr_t, int64_t, bool>>;

insight_subset as_subset(const Subset& given) {
  if (!given) return {INSIGHT_ABSENT, nullptr, 0};
  const auto& [address, size, is_mask] = *given;
  return {is_mask ? INSIGHT_MASK : INSIGHT_LIST, at<const void>(address), size};
}

// The score, the beliefs, the candidates, the excluded, k, seed and whether sorted. (Tuples: objects
// of these would take longer to make than a selection from a small pool.)
using Request = std::tuple<Score, Beliefs, Subset, Subset, int64_t, uint64_t, bool>;
// Addresses of the indices, the scores, the outcome and the workspace, and the bytes of that.
using Result = std::tuple<uintptr_t, uintptr_t, uintptr_t, uintptr_t, int64_t>;

insight_request as_request(const Request& given) {
  const auto& [score, beliefs, candidates, exclude, k, seed, sorted] = given;
  const auto& [kind, parameters, score_seed, draw] = score;
  const auto& [alpha, beta, size, first] = beliefs;
  insight_request request{sizeof(request),
                          {kind, static_cast<int64_t>(parameters.size()), {}, score_seed, draw},
                          {at<const float>(alpha), at<const float>(beta), size, first},
                          as_subset(candidates),
                          as_subset(exclude),
                          k,
                          seed,
                          sorted};
  std::copy_n(parameters.begin(), std::min<size_t>(parameters.size(), INSIGHT_MOST_PARAMETERS),
              request.score.parameters);
  return request;
}

insight_result as_result(const Result& given) {
  const auto& [indices, scores, outcome, workspace, workspace_bytes] = given;
  return {sizeof(insight_result), at<int64_t>(indices),   at<float>(scores),
          at<insight_outcome>(outcome), at<void>(workspace), workspace_bytes};
}

// Whether a signal came (Ctrl-C) whose handler raises; its exception is left set.
bool signal_raises() {
  const py::gil_scoped_acquire acquired;
  return PyErr_CheckSignals() != 0;
}

// A place and the names that it points to.
struct Place {
  const std::string device;
  const std::optional<std::string> instruction_set;
  const std::vector<std::pair<std::string, int64_t>> tuning;
  std::vector<insight_setting> settings;
  insight_place place;

  Place(const std::string& device, int64_t index, uintptr_t stream, int64_t threads,
        const std::optional<std::string>& instruction_set,
        const std::vector<std::pair<std::string, int64_t>>& tuning)
      : device(device), instruction_set(instruction_set), tuning(tuning) {
    for (const auto& [name, value] : this->tuning) settings.push_back({name.c_str(), value});
    place = {sizeof(place),
             this->device.c_str(),
             index,
             at<void>(stream),
             threads,
             instruction_set ? this->instruction_set->c_str() : nullptr,
             settings.data(),
             static_cast<int64_t>(settings.size()),
             &signal_raises};
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
};

// Makes the call, which may take long, and raises what it ended in.
template <class Call>
void raise_for(int64_t first, const Call& call) {
  insight_outcome outcome;
  {
    py::gil_scoped_release released;
    outcome = call();
  }
  if (outcome.code == INSIGHT_DONE) return;
  if (outcome.code == INSIGHT_STOPPED) throw py::error_already_set();
  const auto raise = [](const char* type, auto... arguments) {
    const py::object error = py::module_::import("insight_ext.errors").attr(type)(arguments...);
    PyErr_SetObject(py::type::handle_of(error).ptr(), error.ptr());
    throw py::error_already_set();
  };
  const char* const message = insight_message();
  if (outcome.code == INSIGHT_NO_MEMORY) throw std::bad_alloc();
  if (outcome.code == INSIGHT_BAD_BELIEF) raise("BeliefError", message, first + outcome.where);
  if (outcome.code == INSIGHT_CHANGED) raise("BeliefError", message);
  if (outcome.code == INSIGHT_BAD_DEVICE) raise("DeviceError", message);
  raise("ArgumentError", message);
}

class Index {
 public:
  Index(const Request& given, const Place& place) : first_(std::get<3>(std::get<1>(given))) {
    const insight_request request = as_request(given);
    raise_for(first_, [&] { return insight_index_new(&request, &place.place, &index_); });
  }
  ~Index() { insight_index_free(index_); }
  Index(const Index&) = delete;
  Index& operator=(const Index&) = delete;

  void rebuild() {
    raise_for(first_, [&] { return insight_index_rebuild(index_); });
  }
  void update(const Subset& changed) {
    const insight_subset subset = as_subset(changed);
    raise_for(first_, [&] { return insight_index_update(index_, &subset); });
  }
  void select(int64_t k, bool sorted, const Subset& exclude, const Result& given) {
    const insight_subset subset = as_subset(exclude);
    const insight_result result = as_result(given);
    raise_for(first_, [&] { return insight_index_select(index_, k, sorted, &subset, &result); });
  }
  int64_t visited() const {
    py::gil_scoped_release released;
    return insight_index_visited(index_);
  }

 private:
  const int64_t first_;
  insight_index* index_ = nullptr;
};

std::vector<std::string> names(const char* (*name)(int64_t)) {
  std::vector<std::string> all;
  while (const char* const next = name(static_cast<int64_t>(all.size()))) all.push_back(next);
  return all;
}

}  // namespace

PYBIND11_MODULE(_C, module) {
  py::class_<Place>(module, "Place")
      .def(py::init<const std::string&, int64_t, uintptr_t, int64_t,
                    const std::optional<std::string>&,
                    const std::vector<std::pair<std::string, int64_t>>&>(),
           "device"_a = "cpu", "index"_a = 0, "stream"_a = 0, "threads"_a = 0,
           "instruction_set"_a = py::none(), "tuning"_a = py::tuple());
  const auto define = [&](const char* name, auto function) {
    module.def(name, [function](const Request& given, const Place& place, const Result& to) {
      const insight_request request = as_request(given);
      const insight_result result = as_result(to);
      raise_for(request.beliefs.first, [&] { return function(&request, &place.place, &result); });
    });
  };
  define("score_all", insight_score_all);
  define("select_top_k", insight_select_top_k);
  module.def("workspace_bytes", [](const Request& given, const Place& place) {
    const insight_request request = as_request(given);
    int64_t bytes = 0;
    raise_for(0, [&] { return insight_workspace_bytes(&request, &place.place, &bytes); });
    return bytes;
  });
  module.def("merge_top_k", [](const Request& given, uintptr_t indices, uintptr_t scores,
                               int64_t count, const Result& to) {
    const insight_request request = as_request(given);
    const insight_result result = as_result(to);
    raise_for(0, [&] {
      return insight_merge_top_k(&request, at<const int64_t>(indices), at<const float>(scores),
                                 count, &result);
    });
  });
  module.def("draw_distinct", [](int64_t size, int64_t count, uint64_t seed, uint64_t draw,
                                 uintptr_t drawn) {
    raise_for(0, [&] { return insight_draw_distinct(size, count, seed, draw, at<int64_t>(drawn)); });
  });
  module.def("device_name", [](const Place& place) {
    char name[256];
    raise_for(0, [&] { return insight_device_name(&place.place, name, sizeof(name)); });
    return std::string(name);
  });
  py::class_<Index>(module, "Index")
      .def(py::init<const Request&, const Place&>())
      .def("rebuild", &Index::rebuild)
      .def("update", &Index::update)
      .def("select", &Index::select)
      .def("visited", &Index::visited);
  module.attr("back_ends") = names(insight_back_end);
  module.attr("instruction_sets") = names(insight_instruction_set);
#ifdef __clang__
  module.attr("compiler") = "clang++ " __clang_version__;
#else
  module.attr("compiler") = "g++ " __VERSION__;
#endif
  module.attr("version") = INSIGHT_VERSION;
  module.attr("cuda_architectures") = INSIGHT_CUDA_ARCHITECTURES;
}
