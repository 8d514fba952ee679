// The extension module: addresses and sizes in, an outcome code out. ops.py checks what it is given
// for people; the back ends check for themselves whatever could harm (check.h).
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <vector>

#include "bindings.h"
#include "cpu/cpu.h"
#include "cpu/draw.h"
#include "cpu/pool_index.h"

namespace py = pybind11;
using namespace insight;

#ifdef INSIGHT_WITH_CUDA
void bind_cuda(py::module_ module);
#endif

namespace {

cpu::Settings cpu_settings(int threads, int instruction_set) {
  cpu::Settings settings;
  settings.threads = threads;
  if (instruction_set != -1) {
    settings.instruction_set = static_cast<cpu::InstructionSet>(instruction_set);
  }
  return settings;
}

py::tuple as_tuple(const Outcome& outcome) {
  return py::make_tuple(static_cast<int>(outcome.code), outcome.where);
}

py::tuple cpu_score(int64_t kind, const std::vector<double>& parameters, uint64_t score_seed,
                    uint64_t draw, uintptr_t alpha, uintptr_t beta, int64_t size, int64_t first,
                    uintptr_t scores, int threads, int instruction_set) {
  Outcome outcome;
  {
    py::gil_scoped_release released;
    outcome = cpu::score(any_score(kind, parameters, score_seed, draw),
                         {at<const float>(alpha), at<const float>(beta), size, first},
                         cpu_settings(threads, instruction_set), at<float>(scores));
  }
  return as_tuple(outcome);
}

py::tuple cpu_select_top_k(int64_t kind, const std::vector<double>& parameters, uint64_t score_seed,
                           uint64_t draw, uintptr_t alpha, uintptr_t beta, int64_t size,
                           int64_t first, int64_t k, uint64_t seed, bool sorted, uintptr_t candidates,
                           int64_t candidates_size, uintptr_t candidate_mask, uintptr_t excluded,
                           int64_t excluded_size, uintptr_t exclusion_mask, uintptr_t indices,
                           uintptr_t scores, int threads, int instruction_set,
                           const std::vector<int64_t>& tuning) {
  Outcome outcome;
  {
    py::gil_scoped_release released;
    cpu::Settings settings = cpu_settings(threads, instruction_set);
    expect(tuning.empty() || tuning.size() == 4, "tuning", "4 numbers", tuning.size());
    if (!tuning.empty()) {
      settings.tuning.block = tuning[0];
      settings.tuning.least_per_thread = tuning[1];
      settings.tuning.sample_rank = tuning[2];
      settings.tuning.capacity = tuning[3];
    }
    const Eligible eligible{at<const int64_t>(candidates), candidates_size,
                            at<const bool>(candidate_mask), at<const int64_t>(excluded),
                            excluded_size, at<const bool>(exclusion_mask)};
    outcome = cpu::select_top_k(any_score(kind, parameters, score_seed, draw),
                                {at<const float>(alpha), at<const float>(beta), size, first}, eligible,
                                {k, seed, sorted}, settings,
                                {at<int64_t>(indices), at<float>(scores)});
  }
  return as_tuple(outcome);
}

py::tuple cpu_merge_top_k(uintptr_t part_indices, uintptr_t part_scores, int64_t count, int64_t k,
                          uint64_t seed, bool sorted, uintptr_t indices, uintptr_t scores) {
  Outcome outcome;
  {
    py::gil_scoped_release released;
    outcome = cpu::merge_top_k({at<int64_t>(part_indices), at<float>(part_scores)}, count,
                               {k, seed, sorted}, {at<int64_t>(indices), at<float>(scores)});
  }
  return as_tuple(outcome);
}

py::tuple index_select(cpu::PoolIndex& index, int64_t k, bool sorted, uintptr_t excluded,
                       int64_t excluded_size, uintptr_t indices, uintptr_t scores) {
  Outcome outcome;
  {
    py::gil_scoped_release released;
    outcome = index.select(k, sorted, at<const int64_t>(excluded), excluded_size,
                           {at<int64_t>(indices), at<float>(scores)});
  }
  return as_tuple(outcome);
}

py::tuple index_rebuild(cpu::PoolIndex& index) {
  Outcome outcome;
  {
    py::gil_scoped_release released;
    outcome = index.rebuild();
  }
  return as_tuple(outcome);
}

py::tuple index_update(cpu::PoolIndex& index, uintptr_t indices, int64_t count) {
  Outcome outcome;
  {
    py::gil_scoped_release released;
    outcome = index.update(at<const int64_t>(indices), count);
  }
  return as_tuple(outcome);
}

int64_t index_visited(const cpu::PoolIndex& index) {
  py::gil_scoped_release released;
  return index.visited();
}

void as_argument_error(std::exception_ptr error) {
  try {
    if (error) std::rethrow_exception(error);
  } catch (const ArgumentError& mistake) {
    const py::object type = py::module_::import("insight_ext.errors").attr("ArgumentError");
    py::set_error(type, mistake.what());
  }
}

}  // namespace

PYBIND11_MODULE(_C, module) {
  py::register_local_exception_translator(&as_argument_error);
  py::module_ cpu_module = module.def_submodule("cpu");
  cpu_module.def("score", &cpu_score);
  cpu_module.def("select_top_k", &cpu_select_top_k);
  cpu_module.def("merge_top_k", &cpu_merge_top_k);
  cpu_module.def("draw_distinct", [](int64_t size, int64_t count, uint64_t seed, uint64_t draw,
                                     uintptr_t drawn) {
    cpu::draw_distinct(size, count, seed, draw, at<int64_t>(drawn));
  });
  cpu_module.def("best_instruction_set",
                 [] { return static_cast<int>(cpu::best_instruction_set()); });
  py::class_<cpu::PoolIndex>(cpu_module, "PoolIndex")
      .def(py::init([](int64_t kind, const std::vector<double>& parameters, uintptr_t alpha,
                       uintptr_t beta, int64_t size, uint64_t seed, int threads,
                       int instruction_set) {
        return std::make_unique<cpu::PoolIndex>(
            any_score(kind, parameters, 0, 0),
            Beliefs{at<const float>(alpha), at<const float>(beta), size}, seed,
            cpu_settings(threads, instruction_set));
      }))
      .def("rebuild", &index_rebuild)
      .def("update", &index_update)
      .def("select", &index_select)
      .def("visited", &index_visited);
#ifdef __clang__
  module.attr("compiler") = "clang++ " __clang_version__;
#else
  module.attr("compiler") = "g++ " __VERSION__;
#endif
  module.attr("version") = INSIGHT_VERSION;
  module.attr("cuda_architectures") = INSIGHT_CUDA_ARCHITECTURES;
#ifdef INSIGHT_WITH_CUDA
  bind_cuda(module.def_submodule("cuda"));
#endif
}
