"""The library without Python: installed, found by CMake, used by programs in C++ and in C."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CMAKE = shutil.which("cmake")

PROGRAM = """
#include <insight.h>
#include <stdio.h>

int main(void) {
  const float alpha[] = {9, 1, 3}, beta[] = {1, 1, 7};
  int64_t indices[2];
  float scores[2];
  insight_request request = {sizeof(request), {INSIGHT_WEIGHTED_INFORMATION, 3, {8, 3, 0.3}}};
  request.beliefs.alpha = alpha, request.beliefs.beta = beta, request.beliefs.size = 3;
  request.k = 2, request.sorted = true;
  insight_place place = {sizeof(place)};
  insight_result result = {sizeof(result), indices, scores};
  insight_outcome outcome = insight_select_top_k(&request, &place, &result);
  if (outcome.code == INSIGHT_DONE) printf("%d %d\\n", (int)indices[0], (int)indices[1]);
  request.k = 4;
  outcome = insight_select_top_k(&request, &place, &result);
  if (outcome.code == INSIGHT_BAD_ARGUMENT) printf("%s\\n", insight_message());
  return 0;
}
"""
LISTS = """
cmake_minimum_required(VERSION 3.25)
project(user LANGUAGES C CXX)
find_package(insight 0.1 REQUIRED)
add_executable(in_cpp main.cpp)
add_executable(in_c main.c)
target_link_libraries(in_cpp insight::insight)
target_link_libraries(in_c insight::insight)
"""


def run(*command: object, **options: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(CMAKE is None, reason="no cmake")
def test_a_program_in_c_or_cpp_finds_the_installed_library_and_selects(tmp_path: Path) -> None:
    run(CMAKE, "-S", ROOT, "-B", tmp_path / "build", "-DINSIGHT_CUDA=OFF", "-DINSIGHT_WERROR=ON")
    run(CMAKE, "--build", tmp_path / "build", "--parallel", 2)
    run(CMAKE, "--install", tmp_path / "build", "--prefix", tmp_path / "installed")
    user = tmp_path / "user"
    user.mkdir()
    (user / "CMakeLists.txt").write_text(LISTS)
    for name in ("main.cpp", "main.c"):
        (user / name).write_text(PROGRAM)
    prefix = f"-DCMAKE_PREFIX_PATH={tmp_path / 'installed'}"
    run(CMAKE, "-S", user, "-B", user / "build", prefix)
    run(CMAKE, "--build", user / "build")
    for program in ("in_cpp", "in_c"):
        said = run(user / "build" / program).splitlines()
        assert said == ["1 2", "k: expected 1 to the pool's 3 prompts, got 4"]
    (library,) = (tmp_path / "installed").rglob("libinsight.so.*.*.*")
    exported = run("nm", "--dynamic", "--defined-only", library).split()
    assert {name for name in exported[2::3] if not name.startswith("insight_")} == set()
    assert not {"python", "torch", "stdc++"} & set(run("ldd", library).lower().split())
