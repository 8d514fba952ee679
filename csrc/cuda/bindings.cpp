// The `cuda` submodule of the extension: like the rest of it, addresses and sizes in. Outcomes
// stay in device memory, because reading them would wait for the device.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <vector>

#include "../bindings.h"
#include "cuda.h"

namespace py = pybind11;
using namespace insight;

namespace {

// What tests change to reach every path; nothing else does.
cuda::Tuning tuning_of(const std::vector<int64_t>& values) {
  cuda::Tuning tuning;
  expect(values.empty() || values.size() == 3, "tuning", "3 numbers", values.size());
  if (!values.empty()) {
    tuning.unsampled = values[0];
    tuning.sample_rank = values[1];
    tuning.capacity = values[2];
  }
  return tuning;
}

void score(int64_t kind, const std::vector<double>& parameters, uint64_t score_seed, uint64_t draw,
           uintptr_t alpha, uintptr_t beta, int64_t size, int64_t first, uintptr_t scores,
           uintptr_t outcome, int device, uintptr_t stream) {
  const py::gil_scoped_release released;
  cuda::score(any_score(kind, parameters, score_seed, draw),
              {at<const float>(alpha), at<const float>(beta), size, first},
              {device, at<void>(stream)},
              at<int64_t>(outcome), at<float>(scores));
}

size_t workspace_bytes(int64_t size, int64_t k, bool lists_candidates, bool lists_excluded,
                       const std::vector<int64_t>& tuning) {
  static constexpr int64_t kSome = 0;
  Eligible eligible;
  if (lists_candidates) eligible.candidates = &kSome;
  if (lists_excluded) eligible.excluded = &kSome;
  return cuda::workspace_bytes(size, eligible, k, tuning_of(tuning));
}

void select_top_k(int64_t kind, const std::vector<double>& parameters, uint64_t score_seed,
                  uint64_t draw, uintptr_t alpha, uintptr_t beta, int64_t size, int64_t first,
                  int64_t k, uint64_t seed, bool sorted, uintptr_t candidates, int64_t candidates_size,
                  uintptr_t candidate_mask, uintptr_t excluded, int64_t excluded_size,
                  uintptr_t exclusion_mask, uintptr_t indices, uintptr_t scores,
                  uintptr_t workspace, uintptr_t outcome, int device, uintptr_t stream,
                  const std::vector<int64_t>& tuning) {
  const py::gil_scoped_release released;
  const Eligible eligible{at<const int64_t>(candidates), candidates_size,
                          at<const bool>(candidate_mask), at<const int64_t>(excluded),
                          excluded_size, at<const bool>(exclusion_mask)};
  cuda::select_top_k(any_score(kind, parameters, score_seed, draw),
                     {at<const float>(alpha), at<const float>(beta), size, first}, eligible,
                     {k, seed, sorted}, tuning_of(tuning), {device, at<void>(stream)},
                     at<void>(workspace), at<int64_t>(outcome),
                     {at<int64_t>(indices), at<float>(scores)});
}

void as_device_error(std::exception_ptr error) {
  try {
    if (error) std::rethrow_exception(error);
  } catch (const cuda::Failure& failure) {
    const py::object type = py::module_::import("insight_ext.errors").attr("DeviceError");
    py::set_error(type, failure.what());
  }
}

}  // namespace

void bind_cuda(py::module_ module) {
  py::register_local_exception_translator(&as_device_error);
  module.def("score", &score);
  module.def("workspace_bytes", &workspace_bytes);
  module.def("select_top_k", &select_top_k);
  module.def("check_device", &cuda::check_device);
  module.def("device_name", &cuda::device_name);
}
