#!/usr/bin/env bash
# Everything that needs a GPU, in one go: build, tests, sanitizers, benchmark.
#
#   benchmarks/run_gpu.sh [FOLDER]     results go to FOLDER, or to benchmarks/results
#
# Needs nvcc, and a python3 with torch, pybind11, cmake and pytest; no network. With
# CCCL=/path/to/include of nvidia-cuda-cccl >= 13.3.4.3.1 cub::DeviceTopK is measured too.
# Every part runs even if one before it failed; the exit status tells whether all passed.
set -uo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "${1:-benchmarks/results}")
python=${PYTHON:-python3}
mkdir -p "$out"
failed=()

part() {  # part NAME SECONDS COMMAND...: runs it within a time, keeps its output, notes a failure
  local name=$1 seconds=$2
  shift 2
  echo "== $name"
  timeout "$seconds" "$@" >"$out/gpu-$name.log" 2>&1
  local status=$?
  tail -n 4 "$out/gpu-$name.log"
  ((status == 0)) || { failed+=("$name"); echo "   FAILED ($status), see $out/gpu-$name.log"; }
}

architecture=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d .)
build=build/gpu
build() {
  cmake -S . -B $build -DPython_EXECUTABLE="$(command -v "$python")" -DINSIGHT_CUDA=ON \
    -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)" -DINSIGHT_PYTHON=ON \
    -DCMAKE_CUDA_ARCHITECTURES="$architecture-real" &&
    cmake --build $build --parallel --target _C cuda_check &&
    cp $build/_C.*.so insight_ext/
}
export -f build
export build architecture python

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | tee "$out/gpu-device.txt"
part build 400 bash -c build
part check 120 $build/cuda_check
part tests 300 "$python" -m pytest -q tests/insight_ext/kernel/test_cuda.py -p no:cacheprovider
for tool in memcheck racecheck initcheck; do
  part "$tool" 200 compute-sanitizer --tool $tool --error-exitcode 9 $build/cuda_check 20011
done
part benchmark 400 "$python" -m benchmarks.cuda "$out/cuda.jsonl"
if [[ -n "${CCCL:-}" ]]; then
  peer() {
    nvcc -std=c++17 -O3 -arch="sm_$architecture" -I "$CCCL" benchmarks/cuda/device_topk.cu \
      -o $build/device_topk &&
      for k in 256 4096; do
        $build/device_topk $k 1000000 10000000 100000000 1000000000 || return
      done | tee -a "$1"
  }
  export -f peer
  part device_topk 200 bash -c "peer '$out/cuda.jsonl'"
fi

if ((${#failed[@]})); then
  echo "FAILED: ${failed[*]}"
  exit 1
fi
echo "all passed"
