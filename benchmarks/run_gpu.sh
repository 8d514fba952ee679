#!/usr/bin/env bash
# Everything that needs a GPU, the most important first, in at most ten minutes.
#
#   benchmarks/run_gpu.sh build       where there is no GPU yet, and after each change in csrc: builds build/gpu,
#                                     to be carried along
#   benchmarks/run_gpu.sh [FOLDER]    builds that if it is not there, then checks and measures; results go
#                                     to FOLDER, or to benchmarks/results: seven files at most
#
# Needs nvcc, cmake and a python3; pybind11, torch and pytest only for what runs in Python; no network.
# With CCCL=/path/to/include of nvidia-cuda-cccl >= 13.3.4.3.1 cub::DeviceTopK is measured too.
# Every part has its time, runs even if one before it failed, and is left out once the ten minutes are
# over; the exit status tells whether all passed.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
build=build/gpu

build_all() {
  local options=(-DINSIGHT_CUDA=ON) targets=(cuda_check cuda_bench) pybind11
  command -v ninja >/dev/null && options+=(-G Ninja)
  if command -v nvidia-smi >/dev/null; then
    options+=("-DCMAKE_CUDA_ARCHITECTURES=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader |
      head -1 | tr -d .)-real")
  fi
  if pybind11=$("$python" -m pybind11 --cmakedir 2>/dev/null); then
    options+=(-DINSIGHT_PYTHON=ON "-DPython_EXECUTABLE=$(command -v "$python")" "-Dpybind11_DIR=$pybind11")
    targets+=(_C)
  fi
  cmake -S . -B $build "${options[@]}" && cmake --build $build --parallel --target "${targets[@]}"
}
if [[ ${1:-} == build ]]; then
  build_all
  exit
fi

out=$(realpath -m "${1:-benchmarks/results}")
mkdir -p "$out"
failed=()

part() {  # part SECONDS FILE COMMAND...: runs it within a time, keeps its output, notes a failure
  local seconds=$1 file=$2 status left=$((600 - SECONDS))
  shift 2
  ((seconds < left)) || seconds=$left
  if ((seconds < 5)); then
    failed+=("$* (no time left)")
    return
  fi
  echo "== $* (at most $seconds s)" | tee -a "$out/$file"
  timeout -k 5 "$seconds" "$@" >>"$out/$file" 2>&1
  status=$?
  tail -n $((status ? 40 : 4)) "$out/$file"
  ((status == 0)) || { failed+=("$*"); echo "   FAILED ($status), see $out/$file"; }
}

export -f build_all
export build python
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | tee "$out/gpu-check.log"
[[ -x $build/cuda_bench ]] || part 240 gpu-build.log bash -c build_all
# The small pools first: a wait without end shows within seconds.
part 30 gpu-check.log $build/cuda_check 2 5
part 90 gpu-check.log $build/cuda_check
part 100 gpu-bench.log $build/cuda_bench "$out/gpu.jsonl" 90
if command -v compute-sanitizer >/dev/null; then
  for tool in racecheck memcheck initcheck synccheck; do
    part 45 gpu-sanitizers.log compute-sanitizer --tool $tool --error-exitcode 9 $build/cuda_check 2 17
  done
fi
if compgen -G "$build/_C.*.so" >/dev/null && "$python" -c 'import torch, pytest' 2>/dev/null; then
  cp $build/_C.*.so insight_ext/
  part 120 gpu-tests.log "$python" -m pytest -q tests/insight_ext/kernel/test_cuda.py -p no:cacheprovider
  part 120 gpu-bench.log "$python" -m benchmarks.gpu "$out/gpu.jsonl"
fi
if [[ -n ${CCCL:-} ]]; then
  part 60 gpu-build.log nvcc -std=c++17 -O3 -arch=native -I "$CCCL" benchmarks/gpu/device_topk.cu \
    -o $build/device_topk
  for k in 256 4096; do
    part 30 gpu-device_topk.log $build/device_topk $k 1000000 10000000 100000000 1000000000
  done
fi

if ((${#failed[@]})); then
  printf 'FAILED: %s\n' "${failed[@]}"
  exit 1
fi
echo "all passed"
