#!/bin/bash
# Builds tests/csrc/driver.cpp with a sanitizer and runs it.
#   tests/csrc/run.sh plain|address|undefined|thread [check|brief|fuzz SECONDS]
# CXX is another compiler than g++; RUN is what runs the driver, where it is for another processor.
# `brief` is `check` without the pool of 2^31 beliefs, which is too much for a sanitizer.
set -euo pipefail
cd "$(dirname "$0")/../.."
kind=$1
shift
CXX=${CXX:-g++}
machine=$($CXX -dumpmachine)
machine=${machine%%-*}
build=build/csrc-$kind-$machine
mkdir -p "$build"
flags="-std=c++17 -g -Wall -Wextra -Wno-psabi -ffp-contract=off -fno-math-errno -fno-trapping-math"
case $kind in
  plain) flags+=" -O3" ;;
  address | undefined | thread) flags+=" -O1 -fno-omit-frame-pointer -fno-sanitize-recover=all -fsanitize=$kind" ;;
  *) echo "expected plain, address, undefined or thread, got $kind" >&2; exit 2 ;;
esac
kernels() { # name, then the instruction set's flags
  $CXX $flags -fno-exceptions "${@:2}" -DINSIGHT_KERNELS="$1" -Dinsight="insight_$1" \
    -c csrc/cpu/kernels.cpp -o "$build/$1.o"
}
kernels portable
objects="$build/portable.o"
if [ "$machine" = aarch64 ]; then
  kernels neon -DINSIGHT_NEON
  objects+=" $build/neon.o"
elif [ "$machine" = x86_64 ]; then
  kernels avx2 -mavx2
  kernels avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512
  objects+=" $build/avx2.o $build/avx512.o"
  # What a newer processor's code defines must be its own, or an older one may come to run it.
  for object in avx2 avx512; do
    strangers=$(nm -C --defined-only "$build/$object.o" | grep ' [TWV] ' | grep -v "insight_$object\|insight_kernels" || true)
    if [ -n "$strangers" ]; then echo "$object.o defines: $strangers" >&2; exit 1; fi
  done
fi
$CXX $flags "-DINSIGHT_BACK_ENDS=BACK_END(cpu)" tests/csrc/driver.cpp csrc/insight.cpp \
  csrc/cpu/{back_end,draw,pool_index,score,select}.cpp $objects -pthread -o "$build/driver"
exec ${RUN:-} "$build/driver" "${@:-brief}"
