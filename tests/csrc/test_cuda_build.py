"""The CUDA sources compile without warnings, and what their machine code uses is bounded.

The figures of docs/kernel.md are those that this leaves in build/cuda_code.md.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "build" / "cuda_code.md"
ARCHITECTURES = (80, 90, 100, 120)
STEP = 16  # candidates that a thread looks at together: 4 * Tuning::kLoads


pytestmark = pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not on PATH")


def compiled(source: str, into: Path, *options: str) -> str:
    """The compiler's report."""
    flags = ["-std=c++17", "-O3", "--threads=0", "--fmad=false", "-Werror=all-warnings"]
    host = "-Xcompiler=-Wall,-Wextra,-ffp-contract=off"
    command = ["nvcc", *flags, host, *options, str(ROOT / source), "-o", str(into)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("driver", ["cuda_check", "cuda_bench"])
def test_a_driver_for_a_gpu_compiles(tmp_path: Path, driver: str) -> None:
    compiled(f"benchmarks/gpu/{driver}.cu", tmp_path / "object.o", "-c", "-arch=sm_90")


def test_a_step_of_the_stream_is_short_and_nothing_is_spilled(tmp_path: Path) -> None:
    lines = ["| GPU | registers | spilled | slots, nothing promising | slots, all tied |"]
    lines.append("| --- " * 5 + "|")
    for architecture in ARCHITECTURES:
        code, spilled = tmp_path / "select.cubin", 0
        options = [f"-arch=sm_{architecture}", "-cubin", "-Xptxas=-v"]
        for name in ("score", "select"):
            report = compiled(f"csrc/cuda/{name}.cu", code, *options)
            spilled += sum(int(count) for count in re.findall(r"(\d+) bytes spill stores", report))
        uses = re.findall(r"Compiling entry function '(\w+)'|Used (\d+) registers", report)
        registers = next(
            int(count)
            for (kernel, _), (_, count) in zip(uses[::2], uses[1::2], strict=True)
            if "scan_kernel" in kernel
        )
        dull, tied = slots_of_a_step(code)
        shown = f"{dull / STEP:.1f} | {tied / STEP:.1f}" if dull else "not counted |"
        lines.append(f"| sm_{architecture} | {registers} | {spilled} bytes | {shown} |")
        assert registers <= 128, "a block of 512 threads has no more"
        assert spilled == 0
        assert dull <= 12 * STEP
        assert tied <= 48 * STEP
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text("\n".join(lines) + "\n")
    if not dull:
        pytest.skip("issue slots are counted by nvdisasm (nvidia-cuda-nvdisasm), and there is none")


def slots_of_a_step(code: Path) -> tuple[int, int]:
    """Instructions of one step of the scan: where no candidate is promising, and where all have the
    belief at the cut and come after it. Zeros without a disassembler."""
    packaged = Path(sysconfig.get_path("purelib"), "nvidia", "cu13", "bin", "nvdisasm")
    disassembler = shutil.which("nvdisasm") or (packaged if packaged.exists() else None)
    if disassembler is None:
        return 0, 0
    done = subprocess.run([disassembler, "-c", code], capture_output=True, text=True, check=True)
    body = re.search(r"^\.text\.\w*scan_kernel.*?^\$", done.stdout, re.M | re.S)
    assert body, "the kernel's own instructions, without the functions that it calls"
    code_lines = re.findall(r"^(\.\w+):|^ +/\*\w+\*/ +(.*) ;", body[0], re.M)
    instructions: list[str] = []
    places: dict[str, int] = {}
    for label, instruction in code_lines:
        if label:
            places[label] = len(instructions)
        else:
            instructions.append(instruction)

    def following(place: int) -> list[int]:
        instruction = instructions[place]
        target = re.search(r"BRA.*`\((\.\w+)\)", instruction)
        if instruction.startswith(("CALL", "EXIT")):
            return []  # not within a step
        if target and "BRA.DIV" not in instruction:
            always = re.fullmatch(r"BRA(\.U)? `.*", instruction)
            return [places[target[1]]] + [place + 1] * (not always)
        return [place + 1]

    def way(begin: int, end: int) -> int:
        """The fewest instructions from one to another."""
        steps, edge, seen = 0, {begin}, set[int]()
        while end not in seen:
            edge = {after for place in edge for after in following(place)} - seen
            assert edge, f"no way from instruction {begin} to {end}"
            steps, seen = steps + 1, seen | edge
        return steps

    loads = densest(instructions, "LDG.E.128", 8)
    hashes = densest(instructions, "0x1ce4e5b9", STEP)  # a factor of the tie hash
    return way(loads, loads), way(loads, hashes) + way(hashes, loads)


def densest(instructions: list[str], what: str, count: int) -> int:
    """Where the shortest part begins that has `what` so many times."""
    places = [place for place, instruction in enumerate(instructions) if what in instruction]
    spans = [(end - begin, begin) for begin, end in zip(places, places[count - 1 :], strict=False)]
    return min(spans)[1]
