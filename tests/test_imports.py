"""Who may import whom: the directions of docs/architecture.md."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TRAINER_LIBRARIES = {"lightning", "pytorch_lightning", "transformers", "vllm", "reasoning_gym"}
REPORT_LIBRARIES = {"matplotlib", "pyarrow"}


def imported(path: Path, *, top_level_only: bool = False) -> set[str]:
    """The modules that a file imports, as dotted names."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            module = node.module or ""
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return names


def roots(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def python_files(*folders: str) -> list[Path]:
    files = [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]
    assert files
    return files


def sources(*folders: str) -> list[Path]:
    patterns = ("*.h", "*.cpp", "*.cu", "*.cuh")
    return [f for d in folders for p in patterns for f in sorted((ROOT / d).rglob(p))]


def includes(path: Path) -> list[str]:
    return re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', path.read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    "path", python_files("insight_ext"), ids=lambda p: str(p.relative_to(ROOT))
)
def test_insight_ext_knows_no_trainer(path):
    assert not roots(imported(path)) & (TRAINER_LIBRARIES | {"lightning_integration"})


def test_the_oracle_does_not_know_what_it_judges():
    modules = imported(ROOT / "insight_ext/reference.py")
    assert not {"insight_ext.ops", "insight_ext._C"} & modules


@pytest.mark.parametrize(
    "path", python_files("insight_ext"), ids=lambda p: str(p.relative_to(ROOT))
)
def test_only_ops_and_its_neighbours_touch_the_extension(path):
    allowed = {"ops.py", "dispatch.py", "build_info.py", "scores.py", "pool_index.py"}
    touches = {"insight_ext._C"} & imported(path)
    assert not touches or path.name in allowed


def test_importing_insight_ext_needs_no_extra():
    for path in python_files("insight_ext"):
        if "report" not in path.parts and "simulate" not in path.parts:
            extras = roots(imported(path, top_level_only=True)) & REPORT_LIBRARIES
            assert not extras, f"{path} imports {extras} at its top level"


def test_lightning_integration_uses_public_names_only():
    for path in python_files("lightning_integration"):
        for name in imported(path):
            if name.startswith("insight_ext"):
                private = [part for part in name.split(".") if part.startswith("_")]
                assert not private, f"{path} imports {name}"


def test_only_one_file_imports_vllm():
    for path in python_files("insight_ext", "lightning_integration"):
        if "vllm" in roots(imported(path)):
            assert path == ROOT / "lightning_integration/rollouts/vllm.py"


def test_benchmarks_do_not_import_tests_and_tests_do_not_time():
    for path in python_files("benchmarks"):
        assert "tests" not in roots(imported(path))
    for path in python_files("tests"):
        assert not {"time", "timeit"} & roots(imported(path)), f"{path} times"


def test_formulas_include_the_standard_library_only():
    for path in [*sources("csrc/score"), ROOT / "csrc/order.h"]:
        for name in includes(path):
            inside = (ROOT / "csrc" / name).exists() or (path.parent / name).exists()
            assert inside or re.fullmatch(r"[a-z_]+", name), f"{path} includes {name}"


def test_the_back_ends_do_not_know_each_other_torch_or_python():
    for here, other in (("cpu", "cuda"), ("cuda", "cpu")):
        for path in sources(f"csrc/{here}"):
            for name in includes(path):
                assert not name.startswith((f"{other}/", f"../{other}/")), f"{path}: {name}"
                binds = path.name == "bindings.cpp" and name.startswith("pybind11")
                known = re.match(r"(torch|ATen|c10|pybind11|Python)", name)
                assert binds or not known, f"{path}: {name}"
