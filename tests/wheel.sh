#!/bin/bash
# Tries the wheel that a Python has installed where nothing else could serve: in an empty folder, with no
# compiler on the path. The README's kernel example, then the tests of scores and selections.
#   tests/wheel.sh PYTHON
set -euo pipefail
python=$(command -v "$1")
python=$(realpath "$(dirname "$python")")/$(basename "$python")
source=$(realpath "$(dirname "$0")/..")
there=$(mktemp -d)
trap 'rm -rf "$there"' EXIT
mkdir -p "$there/tests/insight_ext/kernel"
cp -r "$source/tests/data" "$there/tests"
cp "$source"/tests/insight_ext/kernel/test_{hostile,index,ops,reference,scores}.py "$there/tests/insight_ext/kernel"
awk '/^## The kernel alone/ { here = 1 } here && /^```$/ { exit } code; here && /^```python/ { code = 1 }' \
  "$source/README.md" > "$there/example.py"
test -s "$there/example.py"
cd "$there"
alone() { env -i HOME="$there" PATH="$(dirname "$python")" TMPDIR="$there" "$python" "$@"; }
alone -c 'import shutil; assert not any(map(shutil.which, ["cc", "gcc", "g++", "clang", "nvcc", "cmake"]))'
alone -c 'from insight_ext import build_info; print(build_info())'
alone example.py
alone -m pytest -q --import-mode=importlib -p no:cacheprovider tests
