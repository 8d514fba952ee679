"""Who may import whom: the directions of docs/architecture.md."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TRAINER_LIBRARIES = {"lightning", "pytorch_lightning", "transformers", "vllm", "reasoning_gym"}
CSRC = ROOT / "csrc"
STANDARD = "[a-z_]+"  # the C++ standard headers, which alone have no ending
FORMULAS = r"score/.*|insight\.h|order\.h|portable\.h"
ENTRY = rf"back_end\.h|check\.h|request\.h|{FORMULAS}"  # what every back end builds on
# For each file or folder of csrc: what it may include beside the standard headers.
MAY_INCLUDE = {
    "portable.h": "",
    "order.h": r"portable\.h",
    "score/": FORMULAS,
    "insight.h": r"std(bool|int)\.h",
    "request.h": FORMULAS,
    "check.h": ENTRY,
    "back_end.h": ENTRY,
    "entry.h": ENTRY,
    "insight.cpp": rf"entry\.h|{ENTRY}",
    "cpu/": rf"cpu/.*|{ENTRY}|immintrin\.h|pthread\.h",
    "cpu/simd/": r"order\.h|immintrin\.h|arm_neon\.h",
    "cpu/back_end.cpp": rf"cpu/.*|entry\.h|{ENTRY}",
    "cuda/": rf"cuda/.*|{ENTRY}|cuda_runtime\.h",
    "bindings.cpp": r"insight\.h|pybind11/.*",
}
ORACLE_LIBRARIES = {"__future__", "numpy", "torch"}
REPORT_LIBRARIES = {"matplotlib", "pyarrow"}


def imported(path: Path, *, top_level_only: bool = False, typing_too: bool = True) -> set[str]:
    """The modules that a file imports, as dotted names."""
    tree = ast.parse(path.read_text())
    if not typing_too:
        tree.body = [node for node in tree.body if not is_typing(node)]
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


def is_typing(node: ast.stmt) -> bool:
    """Whether this is `if TYPE_CHECKING:`."""
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


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
    """What a file of csrc includes: files there by their path in it, others as written."""
    found = []
    for name in re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', path.read_text(), re.MULTILINE):
        near, far = (path.parent / name).resolve(), (CSRC / name).resolve()
        inside = [file for file in (near, far) if file.is_relative_to(CSRC) and file.exists()]
        found.append(str(inside[0].relative_to(CSRC)) if inside else name)
    return found


def may_include(path: Path, name: str) -> bool:
    """By the rule of the file, else of its folder."""
    rule = str(path.relative_to(CSRC))
    if rule not in MAY_INCLUDE:
        rule = f"{path.parent.relative_to(CSRC)}/"
    return re.fullmatch(f"{STANDARD}|{MAY_INCLUDE[rule]}", name) is not None


@pytest.mark.parametrize(
    "path", python_files("insight_ext"), ids=lambda p: str(p.relative_to(ROOT))
)
def test_insight_ext_knows_no_trainer_but_in_its_adapter(path):
    if path.parent.name == "adapters":
        return
    assert not roots(imported(path)) & (TRAINER_LIBRARIES | {"lightning_integration"})


# The rooms of insight_ext, each of which may import those before it.
ORDER = [
    {"visible_text"},
    {"errors"},
    {"plugins", "atomic_file", "child_process", "progress"},
    {"kernel", "distributed", "state"},
    {"data"},
    {"beliefs"},
    {"predictors", "filters", "offline"},
    {"selectors"},
    {"runs"},
    {"loop"},
    {"curators"},
    {"report"},
    {"simulate"},
    {"adapters"},
    {"cli"},
    {"__main__"},
]


def level(room: str) -> int:
    return next(at for at, rooms in enumerate(ORDER) if room in rooms)


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "insight_ext").parts[0].removesuffix(".py")


def test_no_room_of_insight_ext_imports_one_above_it():
    for path in python_files("insight_ext"):
        own = room_of(path)
        if own == "__init__":
            continue
        for name in imported(path, typing_too=False):
            parts = name.split(".")
            if parts[0] != "insight_ext" or len(parts) < 2 or parts[1] == "_C":
                continue
            if not any((ROOT / "insight_ext" / f"{parts[1]}{end}").exists() for end in ("", ".py")):
                continue
            if parts[1] != own:
                assert level(parts[1]) < level(own), f"{path}: {own} imports {parts[1]}"


def test_the_files_of_lightning_integration_form_no_circle():
    graph = {}
    for path in python_files("lightning_integration"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        graph[module] = imported(path, typing_too=False)
    graph = {module: names & graph.keys() for module, names in graph.items()}
    packages = {name for name in graph if any(other.startswith(f"{name}.") for other in graph)}
    left = {name: names - packages for name, names in graph.items() if name not in packages}
    while left:
        free = {name for name, names in left.items() if not names & left.keys()}
        assert free, f"a circle among {sorted(left)}"
        left = {name: names for name, names in left.items() if name not in free}


def test_the_oracle_does_not_know_what_it_judges():
    for name in imported(ROOT / "insight_ext/kernel/reference.py"):
        own = re.fullmatch(r"insight_ext\.(kernel\.scores|errors)(\.[A-Za-z]+)?", name)
        assert own or roots({name}) <= ORACLE_LIBRARIES, f"reference.py imports {name}"


@pytest.mark.parametrize(
    "path", python_files("insight_ext"), ids=lambda p: str(p.relative_to(ROOT))
)
def test_only_ops_and_its_neighbours_touch_the_extension(path):
    allowed = {"ops.py", "dispatch.py", "build_info.py", "scores.py", "index.py"}
    touches = {"insight_ext._C"} & imported(path)
    assert not touches or path.name in allowed


def test_importing_insight_ext_needs_no_extra():
    for path in python_files("insight_ext"):
        # The readers of rows are imported when there is a file to read.
        reads = path.parent.name == "offline" and path.stem.endswith(("_rows", "_ids"))
        if not reads and not {"report", "simulate", "data"} & set(path.parts):
            extras = roots(imported(path, top_level_only=True)) & REPORT_LIBRARIES
            assert not extras, f"{path} imports {extras} at its top level"


@pytest.mark.parametrize("module", ["insight_ext", "insight_ext.cli.main"])
def test_pyarrow_is_imported_when_it_is_used(module):
    program = f"import sys, {module}; sys.exit('pyarrow' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_lightning_integration_uses_public_names_only():
    for path in python_files("lightning_integration"):
        for name in imported(path):
            if name.startswith("insight_ext"):
                private = [part for part in name.split(".") if part.startswith("_")]
                assert not private, f"{path} imports {name}"


def test_two_files_alone_import_vllm_and_only_when_it_is_used():
    for path in python_files("insight_ext", "lightning_integration"):
        if "vllm" in roots(imported(path)):
            assert path.parent == ROOT / "lightning_integration/rollouts"
            assert path.name in {"vllm.py", "vllm_routes.py"}
            assert "vllm" not in roots(imported(path, top_level_only=True))


def test_reasoning_gym_is_imported_when_it_is_used():
    for path in python_files("insight_ext", "lightning_integration", "benchmarks"):
        assert "reasoning_gym" not in roots(imported(path, top_level_only=True)), path


def test_a_scoring_process_imports_the_standard_library_and_its_scorer():
    names = roots(imported(ROOT / "lightning_integration/grpo/scorer_process.py"))
    assert names <= sys.stdlib_module_names | {"math_verify", "reasoning_gym"}


def test_benchmarks_do_not_import_tests_and_tests_do_not_time():
    for path in python_files("benchmarks"):
        assert "tests" not in roots(imported(path))
    for path in python_files("tests"):
        assert not {"time", "timeit"} & roots(imported(path)), f"{path} times"


@pytest.mark.parametrize("path", sources("csrc"), ids=lambda p: str(p.relative_to(ROOT)))
def test_the_extension_includes_downwards_only(path):
    for name in includes(path):
        assert may_include(path, name), f"{path.relative_to(ROOT)} includes {name}"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("score/thompson.h", "cpu/cpu.h"),
        ("score/any.h", "request.h"),
        ("insight.h", "request.h"),
        ("bindings.cpp", "cpu/cpu.h"),
        ("insight.cpp", "cuda/cuda.h"),
        ("order.h", "score/any.h"),
        ("bindings.cpp", "torch/extension.h"),
        ("cpu/cpu.h", "cuda/cuda.h"),
        ("cuda/cuda.h", "cpu/cpu.h"),
        ("cuda/select.cu", "pybind11/pybind11.h"),
        ("cpu/kernels.h", "Python.h"),
    ],
)
def test_other_directions_are_refused(path, name):
    assert not may_include(CSRC / path, name)


def test_the_map_shows_every_room():
    rooms = [*(ROOT / "csrc").iterdir(), *(ROOT / "insight_ext").glob("[a-z]*")]
    names = {f"{path.name}/" if path.is_dir() else path.name for path in rooms}
    names |= {"configs/", "examples/", "benchmarks/", "tests/"}
    table = (ROOT / "docs/architecture.md").read_text().partition("## Who may")[0]
    assert not {name for name in names if name not in table and name != "py.typed"}
