"""What CMake is told and what a source archive holds; nothing is compiled here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NVCC = os.environ.get("CUDACXX") or shutil.which("nvcc")


def configure(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    pybind11 = pytest.importorskip("pybind11")
    cmake = shutil.which("cmake") or pytest.skip("no cmake")
    command = [cmake, "-S", str(ROOT), "-B", str(folder), "-G", "Unix Makefiles", *options]
    command += ["-DINSIGHT_PYTHON=ON"]
    command += [f"-DPython_EXECUTABLE={sys.executable}"]
    command += [f"-Dpybind11_DIR={pybind11.get_cmake_dir()}"]
    clean = {name: value for name, value in os.environ.items() if name != "CUDAARCHS"}
    return subprocess.run(
        command, env={**clean, **environment}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("value", ["auto", "YES", ""])
def test_an_unknown_choice_of_back_end_is_refused(tmp_path, value):
    result = configure(tmp_path, f"-DINSIGHT_CUDA={value}")
    assert result.returncode != 0
    assert f"INSIGHT_CUDA: expected AUTO, ON or OFF, got '{value}'" in result.stderr


@pytest.mark.skipif(NVCC is None, reason="configures the CUDA back end with nvcc")
@pytest.mark.parametrize(
    ("options", "environment", "expected"),
    [
        (["-DCMAKE_CUDA_ARCHITECTURES=87"], {}, "87"),
        ([], {"CUDAARCHS": "86"}, "86"),
        # nvcc passed off as an older one.
        (["-DCMAKE_USER_MAKE_RULES_OVERRIDE_CUDA={older}"], {}, "80,90"),
    ],
    ids=["option", "environment", "older nvcc"],
)
def test_the_gpus_compiled_for_are_those_given_or_those_nvcc_knows(
    tmp_path, options, environment, expected
):
    older = tmp_path / "older.cmake"
    older.write_text("set(CMAKE_CUDA_COMPILER_VERSION 12.4)\n")
    given = [option.format(older=older) for option in options]
    # The second time the first one's cache is read.
    for _ in range(2):
        result = configure(tmp_path / "build", *given, **environment)
        assert result.returncode == 0, result.stderr
        flags = (tmp_path / "build/CMakeFiles/_C.dir/flags.make").read_text()
        assert f'INSIGHT_CUDA_ARCHITECTURES=\\"{expected}\\"' in flags


def test_a_source_archive_holds_what_the_build_reads(tmp_path):
    pytest.importorskip("pybind11")
    command = [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", str(tmp_path)]
    command += ["sdist", "--dist-dir", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        held = {name.partition("/")[2] for name in file.getnames()}
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "csrc").rglob("*.*")}
    assert sources | {"CMakeLists.txt", "insight_ext/_C.pyi", "insight_ext/py.typed"} <= held
    assert not any(name.startswith("tests") for name in held)
