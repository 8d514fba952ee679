"""The CUDA sources compile without warnings, and the report of what they use is kept."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "build" / "ptxas.txt"
ARCHITECTURES = (80, 90, 100, 120)


pytestmark = pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not on PATH")


def compiled(source: Path, into: Path, *options: str) -> str:
    """The compiler's report."""
    flags = ["-std=c++17", "-O3", "--threads=0", "--fmad=false", "-Werror=all-warnings"]
    host = "-Xcompiler=-Wall,-Wextra,-ffp-contract=off"
    command = ["nvcc", *flags, host, *options, "-c", str(source), "-o", str(into / "object.o")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("driver", ["cuda_check", "cuda_bench"])
def test_a_driver_for_a_gpu_compiles(tmp_path: Path, driver: str) -> None:
    compiled(ROOT / "benchmarks" / "gpu" / f"{driver}.cu", tmp_path, "-arch=sm_90")


def test_the_kernels_compile_and_the_streaming_pass_fits_two_blocks_a_multiprocessor(
    tmp_path: Path,
) -> None:
    for_all = [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in ARCHITECTURES]
    report = "".join(
        compiled(ROOT / "csrc" / "cuda" / f"{name}.cu", tmp_path, *for_all, "-Xptxas=-v")
        for name in ("select", "score")
    )
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(report)
    registers = [int(count) for count in re.findall(r"Used (\d+) registers", report)]
    spilled = [int(count) for count in re.findall(r"(\d+) bytes spill stores", report)]
    assert max(registers) <= 128
    assert sum(spilled) <= 32, "spills belong around the rare calls, not in the streaming loop"
